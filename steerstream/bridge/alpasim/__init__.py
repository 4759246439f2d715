"""AlpaSim's driver contract, `egodriver.EgodriverService`, in front of sessions."""
