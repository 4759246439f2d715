"""The steerstream server: sessions, recurrent state, batching and admission.

Run it with `steerstream serve`. It imports `steerstream` for the wire contract and never
torch.
"""
