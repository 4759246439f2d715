"""The frames that another server needs, beside the last ticket, to go on as the first."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

from steerstream.answers import TicketIssued
from steerstream.models import View
from steerstream.v1 import frame_pb2

MAX_REPLAYED = 1024
"""Frames that a server has a session play again."""


@dataclasses.dataclass(slots=True)
class Kept:
    """A frame, or a reset between frames.

    Attributes:
        order: counts what was kept, so that a place stays a place where others leave.
        frame: as it goes over the wire; None for a reset.
        view: by which its picture was cropped and scaled; None for a whole picture.
        is_seen: whether a command says that the recurrent state has seen it.
    """

    order: int
    frame: frame_pb2.Frame | None
    view: View | None = None
    is_seen: bool = False


class KeptFrames:
    """Keeps frames and resets in the order of sending, until a ticket needs them no more.

    Args:
        max_bytes: of all pictures together. Where they are more, all that were seen are let go of,
            and so is the ticket: the state cannot be brought forward without them. Frames that wait
            for an answer stay, because they are still to be sent to whichever server comes next.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept: dict[int, Kept] = {}
        self._orders: dict[int, int] = {}
        self._next_order = 0
        self.size_bytes = 0
        self.ticket: TicketIssued | None = None
        """The newest ticket that can be used."""
        self.is_whole = True
        """Whether ticket and frames, or without a ticket the frames alone, are the whole state."""
        self.losses = 0
        """How often frames that the state had seen were let go of, most often for want of room."""

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, frame: frame_pb2.Frame | None, view: View | None = None) -> Kept:
        """Keep a frame that is about to be sent, or a reset.

        Args:
            frame: as it goes over the wire; None for a reset.
            view: by which its picture was cropped and scaled; None for a whole picture.
        """
        is_view = frame is not None and frame.HasField("view_applied")
        kept = Kept(self._next_order, frame, view if is_view else None)
        self._next_order += 1
        self._kept[kept.order] = kept
        if frame is not None:
            self._orders[frame.sequence_number] = kept.order
            self.size_bytes += frame.ByteSize()
        if len(self._kept) > MAX_REPLAYED:
            self._merge_resets()
        is_too_much = self.size_bytes > self._max_bytes or len(self._kept) > MAX_REPLAYED
        if is_too_much and any(kept.is_seen for kept in self._kept.values()):
            self.forget_state()
        return kept

    @property
    def last_order(self) -> int:
        """The place of what was kept last; -1 before anything was."""
        return self._next_order - 1

    def after(self, order: int) -> Iterator[Kept]:
        """Yield what was kept after a place, in order; nothing may change in between."""
        return (kept for kept in self._kept.values() if kept.order > order)

    def resets_at(self, order: int) -> list[Kept]:
        """Return the resets that stand in a row from a place on."""
        following = self.after(order - 1)
        return list(itertools.takewhile(lambda kept: kept.frame is None, following))

    def seen(self, sequence_number: int) -> None:
        """A command came: the state has seen the frame."""
        order = self._orders.get(sequence_number)
        if order is not None:
            self._kept[order].is_seen = True

    def unseen(self, sequence_number: int) -> None:
        """The frame was skipped: the state has not seen it, and never will."""
        order = self._orders.get(sequence_number)
        if order is not None:
            self._drop(order)

    def has_seen(self, sequence_number: int) -> bool:
        """Return whether the state has seen the frame, by what was answered for it."""
        order = self._orders.get(sequence_number)
        return order is not None and self._kept[order].is_seen

    def take_ticket(self, ticket: TicketIssued) -> None:
        """Keep a ticket, and let go of the frames that it needs no more.

        One that is not newer than the one before, or whose frames are not kept, is of no use.
        """
        if self.ticket is not None and ticket.sequence_number <= self.ticket.sequence_number:
            return
        first = ticket.replay_from
        order = self._orders.get(ticket.sequence_number if first is None else first)
        if order is not None:
            self.ticket, self.is_whole = ticket, True
            self._drop_before(order + (first is None))

    def forget_ticket(self) -> None:
        """The ticket cannot be used: what was before it is lost."""
        self.ticket, self.is_whole = None, False

    def forget_state(self) -> None:
        """Let go of the ticket and of all frames that the state has seen: the state is lost."""
        self.forget_ticket()
        self.losses += 1
        last_seen = max((kept.order for kept in self._kept.values() if kept.is_seen), default=-1)
        for kept in list(self._kept.values()):
            # A reset after the last seen frame is for the frames behind it.
            if kept.is_seen or (kept.frame is None and kept.order < last_seen):
                self._drop(kept.order)

    def _merge_resets(self) -> None:
        """Let go of resets that another one follows at once: the state is the same without them."""
        for kept, following in itertools.pairwise(list(self._kept.values())):
            if kept.frame is None and following.frame is None:
                self._drop(kept.order)

    def _drop_before(self, first: int) -> None:
        for order in [order for order in self._kept if order < first]:
            self._drop(order)

    def _drop(self, order: int) -> None:
        frame = self._kept.pop(order).frame
        if frame is not None:
            del self._orders[frame.sequence_number]
            self.size_bytes -= frame.ByteSize()
