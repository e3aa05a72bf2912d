"""Every message of the WebSocket, of its HTTP twin, and of the bus, in one place.

Browsers get JSON; between processes the same structures travel as msgpack behind a version
(`chatroom.bus`). A message is a frozen struct whose `type` field names it. Times are in
milliseconds: `*_ms` on the room's clock, which starts at 0 when the room is created.

Directions:

- `Command`: participant to server (WebSocket frame, or body of `POST /api/rooms/{id}/commands`);
- `Event`: what happened in a room, from the room's stream or live channel to everybody;
- `Reply`: server to one participant (`welcome`, `pong`, `error`).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from chatroom.errors import BadMessage, TooLarge

# One place for the limits of what people may send.
MAX_MESSAGE_BYTES = 16 * 1024
MAX_TITLE = 120
MAX_RULES = 4000
MAX_NAME = 40
MAX_LANGUAGES = 20
MAX_REASON = 300

ParticipantId = Annotated[str, msgspec.Meta(min_length=1, max_length=32)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)]
Language = Annotated[str, msgspec.Meta(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*\Z", max_length=20)]
Title = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TITLE)]
Rules = Annotated[str, msgspec.Meta(max_length=MAX_RULES)]
Cursor = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,20}-[0-9]{1,20}\Z")]
Millis = Annotated[int, msgspec.Meta(ge=0)]
RoleName = Literal["host", "cohost", "speaker", "listener"]


class Message(msgspec.Struct, frozen=True, tag_field="type", forbid_unknown_fields=True):
    """Base of the tagged messages."""


class Record(msgspec.Struct, frozen=True):
    """Base of the structures inside messages."""


# ------------------------------------------------------------------------------ records


class RoomDraft(Record, frozen=True, forbid_unknown_fields=True):
    """Body of `POST /api/rooms`."""

    title: Title
    languages: Annotated[list[Language], msgspec.Meta(min_length=1, max_length=MAX_LANGUAGES)]
    """Languages spoken in the room, the host's first."""
    rules: Rules = ""
    host_name: Name = "Host"


class JoinDraft(Record, frozen=True, forbid_unknown_fields=True):
    """Body of `POST /api/rooms/{id}/participants`."""

    name: Name
    captions: Language | None = None
    """Language to read; None for the originals alone."""
    speaks: Language | None = None
    """Language the person will speak on stage."""


class StageMember(Record, frozen=True):
    """Somebody on stage."""

    participant: str
    name: str
    role: RoleName
    speaks: str
    muted: bool = False
    connected: bool = False
    """Whether a publishing session exists now."""


class Hand(Record, frozen=True):
    """A raised hand."""

    participant: str
    name: str
    speaks: str
    raised_ms: Millis
    invited: bool = False
    """Asked onto the stage, and has not answered yet."""


class RoomInfo(Record, frozen=True):
    """What anybody with the link may know of a room."""

    room: str
    title: str
    languages: list[str]
    rules: str
    created_at: float
    """Unix time, seconds."""
    ended: bool
    listeners: int
    stage: list[StageMember]


class Caption(Record, frozen=True):
    """One utterance as far as it is known: the same `utterance` is sent again with a higher
    `revision`; after `final` the original text never changes, while `translations` may still
    grow."""

    utterance: str
    participant: str
    name: str
    revision: int
    final: bool
    language: str
    text: str
    start_ms: Millis
    end_ms: Millis
    translations: dict[str, str] = {}
    """Target language to text."""
    untranslated: dict[str, str] = {}
    """Target language to the error code that says why there is no translation."""


class CaptionsStatus(Record, frozen=True):
    """How far the captions are, for the page to say in words."""

    state: Literal["off", "fetching", "loading", "ready", "degraded", "failed"]
    detail: str = ""
    """For people, English; for `failed` it names the command to run."""
    progress: float | None = None
    """0 to 1 while fetching."""
    behind_ms: Millis = 0
    pairs: list[str] = []
    """Translations to be had now, as "en-zh"."""
    recognises: list[str] = []
    """Languages that can be recognised now."""


# ----------------------------------------------------------------------------- commands


class Hello(Message, frozen=True, tag="hello"):
    """First message on a WebSocket: who I am, what I read, what I last saw."""

    token: Annotated[str, msgspec.Meta(max_length=4096)]
    captions: Language | None = None
    cursor: Cursor | None = None


class SetCaptions(Message, frozen=True, tag="set_captions"):
    """Read captions in another language from now on; None for originals alone."""

    captions: Language | None


class SetNews(Message, frozen=True, tag="set_news"):
    """With `in_sound`, captions and passing news reach this client in the sound
    (docs/in-band.md): they are left out on the WebSocket while it is in the audience."""

    in_sound: bool


class RaiseHand(Message, frozen=True, tag="raise_hand"):
    speaks: Language | None = None


class LowerHand(Message, frozen=True, tag="lower_hand"):
    participant: ParticipantId | None = None
    """A host may lower somebody else's; None is one's own."""


class Invite(Message, frozen=True, tag="invite"):
    """Ask somebody whose hand is up onto the stage."""

    participant: ParticipantId


class AnswerInvitation(Message, frozen=True, tag="answer_invitation"):
    accept: bool


class LeaveStage(Message, frozen=True, tag="leave_stage"):
    """Go back to the audience, or (host) move `participant` back."""

    participant: ParticipantId | None = None


class SetMuted(Message, frozen=True, tag="set_muted"):
    """Mute or unmute oneself; a host may mute others, never unmute them."""

    muted: bool
    participant: ParticipantId | None = None


class Remove(Message, frozen=True, tag="remove"):
    """Put somebody out of the room."""

    participant: ParticipantId
    reason: Annotated[str, msgspec.Meta(max_length=MAX_REASON)] = ""


class SetSpeaks(Message, frozen=True, tag="set_speaks"):
    """Declare the language that one speaks on stage."""

    speaks: Language


class EndRoom(Message, frozen=True, tag="end_room"):
    pass


class Ping(Message, frozen=True, tag="ping"):
    """Answered with `pong`; for clients that cannot see WebSocket pings."""

    t: float = 0.0


Command = (
    Hello
    | SetCaptions
    | SetNews
    | RaiseHand
    | LowerHand
    | Invite
    | AnswerInvitation
    | LeaveStage
    | SetMuted
    | Remove
    | SetSpeaks
    | EndRoom
    | Ping
)

# ------------------------------------------------------------------------------- events


class StageChanged(Message, frozen=True, tag="stage"):
    """Who is on stage, whole, in the order of arrival."""

    stage: list[StageMember]


class HandsChanged(Message, frozen=True, tag="hands"):
    """The queue of raised hands, whole. Non-hosts get their own entry and `total` only."""

    hands: list[Hand]
    total: int


class Invited(Message, frozen=True, tag="invited"):
    """Somebody is asked onto the stage; sent to that person and the hosts."""

    participant: str
    name: str


class InvitationAnswered(Message, frozen=True, tag="invitation_answered"):
    participant: str
    name: str
    accepted: bool


class Removed(Message, frozen=True, tag="removed"):
    """Somebody was put out; sent to that person and the hosts."""

    participant: str
    name: str
    reason: str


class CaptionPosted(Message, frozen=True, tag="caption"):
    caption: Caption


class Talking(Message, frozen=True, tag="talking"):
    """Who is heard now, by slot; null where the slot is silent. Live only."""

    slots: list[str | None]


class Presence(Message, frozen=True, tag="presence"):
    """How many listen, all nodes summed; about once a second. Live only."""

    listeners: int


class CaptionsStatusChanged(Message, frozen=True, tag="captions_status"):
    """Live only."""

    status: CaptionsStatus


class RoomOver(Message, frozen=True, tag="room_over"):
    reason: Literal["ended", "expired"]


Event = (
    StageChanged
    | HandsChanged
    | Invited
    | InvitationAnswered
    | Removed
    | CaptionPosted
    | Talking
    | Presence
    | CaptionsStatusChanged
    | RoomOver
)

# ------------------------------------------------------------------------------ replies


class Welcome(Message, frozen=True, tag="welcome"):
    """First reply on a WebSocket: the state now. What was missed since the cursor follows as
    events; `resumed` is false where the cursor was too old and history starts anew."""

    room: RoomInfo
    participant: str
    name: str
    role: RoleName
    captions: str | None
    cursor: str
    resumed: bool
    hands: list[Hand]
    hands_total: int
    invited: bool
    talking: list[str | None]
    history: list[Caption]
    """Latest final captions, oldest first, when not resumed."""
    captions_status: CaptionsStatus
    now_ms: Millis
    """Room clock when this was written."""


class RoleChanged(Message, frozen=True, tag="role"):
    """The receiver's own role is another now."""

    role: RoleName


class CaptionsSet(Message, frozen=True, tag="captions_set"):
    """Answers `set_captions`; `history` holds the latest finals in the new language."""

    captions: str | None
    history: list[Caption]


class Pong(Message, frozen=True, tag="pong"):
    t: float
    now_ms: Millis


class ErrorReply(Message, frozen=True, tag="error"):
    """Something the client sent could not be done. `of` is the command's type, if known."""

    code: str
    message: str
    of: str | None = None
    retry_after_s: float | None = None
    fatal: bool = False
    """The server closes the connection after this."""


Reply = Welcome | RoleChanged | CaptionsSet | Pong | ErrorReply


class Envelope(msgspec.Struct, frozen=True):
    """What a WebSocket carries from the server: an event or reply, and for stored events the
    cursor to resume after."""

    m: Event | Reply
    id: str | None = None


COMMANDS: tuple[type[Message], ...] = Command.__args__
EVENTS: tuple[type[Message], ...] = Event.__args__
REPLIES: tuple[type[Message], ...] = Reply.__args__
RECORDS: tuple[type[Record], ...] = (
    RoomDraft,
    JoinDraft,
    StageMember,
    Hand,
    RoomInfo,
    Caption,
    CaptionsStatus,
)

_command_decoder: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)
_encoder = msgspec.json.Encoder()


def decode_command(data: bytes | str) -> Command:
    """One command from its JSON. Raises TooLarge or BadMessage, whose text says which field
    is wrong and what is allowed."""
    size = len(data) if isinstance(data, bytes) else len(data.encode(errors="replace"))
    if size > MAX_MESSAGE_BYTES:
        raise TooLarge(f"A message may have {MAX_MESSAGE_BYTES} bytes; this one has {size}.")
    try:
        return _command_decoder.decode(data)
    except msgspec.ValidationError as error:
        raise BadMessage(f"The message is not valid: {error}.") from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadMessage(f"The message is not JSON: {error}.") from None


def encode_json(message: Message | Record | Envelope) -> bytes:
    """The JSON bytes of a message, with its `type`."""
    return _encoder.encode(message)


def type_of(message: Message) -> str:
    """The wire name of a message."""
    tag = message.__struct_config__.tag
    assert isinstance(tag, str)
    return tag
