// Made from chatroom/protocol.py by `python -m signaling.web_types`. Do not edit.

export type RoleName = "host" | "cohost" | "speaker" | "listener";

export interface RoomDraft {
  title: string;
  languages: string[];
  rules?: string;
  host_name?: string;
}

export interface JoinDraft {
  name: string;
  captions?: string | null;
  speaks?: string | null;
}

export interface StageMember {
  participant: string;
  name: string;
  role: RoleName;
  speaks: string;
  muted: boolean;
  connected: boolean;
}

export interface Hand {
  participant: string;
  name: string;
  speaks: string;
  raised_ms: number;
  invited: boolean;
}

export interface RoomInfo {
  room: string;
  title: string;
  languages: string[];
  rules: string;
  created_at: number;
  ended: boolean;
  listeners: number;
  stage: StageMember[];
}

export interface Caption {
  utterance: string;
  participant: string;
  name: string;
  revision: number;
  final: boolean;
  language: string;
  text: string;
  start_ms: number;
  end_ms: number;
  translations: Record<string, string>;
  untranslated: Record<string, string>;
}

export interface CaptionsStatus {
  state: "degraded" | "failed" | "fetching" | "loading" | "off" | "ready";
  detail: string;
  progress: number | null;
  behind_ms: number;
  pairs: string[];
  recognises: string[];
}

export interface Hello {
  type: "hello";
  token: string;
  captions?: string | null;
  cursor?: string | null;
}

export interface SetCaptions {
  type: "set_captions";
  captions: string | null;
}

export interface SetNews {
  type: "set_news";
  in_sound: boolean;
}

export interface RaiseHand {
  type: "raise_hand";
  speaks?: string | null;
}

export interface LowerHand {
  type: "lower_hand";
  participant?: string | null;
}

export interface Invite {
  type: "invite";
  participant: string;
}

export interface AnswerInvitation {
  type: "answer_invitation";
  accept: boolean;
}

export interface LeaveStage {
  type: "leave_stage";
  participant?: string | null;
}

export interface SetMuted {
  type: "set_muted";
  muted: boolean;
  participant?: string | null;
}

export interface Remove {
  type: "remove";
  participant: string;
  reason?: string;
}

export interface SetSpeaks {
  type: "set_speaks";
  speaks: string;
}

export interface EndRoom {
  type: "end_room";
}

export interface Ping {
  type: "ping";
  t?: number;
}

export interface StageChanged {
  type: "stage";
  stage: StageMember[];
}

export interface HandsChanged {
  type: "hands";
  hands: Hand[];
  total: number;
}

export interface Invited {
  type: "invited";
  participant: string;
  name: string;
}

export interface InvitationAnswered {
  type: "invitation_answered";
  participant: string;
  name: string;
  accepted: boolean;
}

export interface Removed {
  type: "removed";
  participant: string;
  name: string;
  reason: string;
}

export interface CaptionPosted {
  type: "caption";
  caption: Caption;
}

export interface Talking {
  type: "talking";
  slots: (string | null)[];
}

export interface Presence {
  type: "presence";
  listeners: number;
}

export interface CaptionsStatusChanged {
  type: "captions_status";
  status: CaptionsStatus;
}

export interface RoomOver {
  type: "room_over";
  reason: "ended" | "expired";
}

export interface Welcome {
  type: "welcome";
  room: RoomInfo;
  participant: string;
  name: string;
  role: RoleName;
  captions: string | null;
  cursor: string;
  resumed: boolean;
  hands: Hand[];
  hands_total: number;
  invited: boolean;
  talking: (string | null)[];
  history: Caption[];
  captions_status: CaptionsStatus;
  now_ms: number;
}

export interface RoleChanged {
  type: "role";
  role: RoleName;
}

export interface CaptionsSet {
  type: "captions_set";
  captions: string | null;
  history: Caption[];
}

export interface Pong {
  type: "pong";
  t: number;
  now_ms: number;
}

export interface ErrorReply {
  type: "error";
  code: string;
  message: string;
  of: string | null;
  retry_after_s: number | null;
  fatal: boolean;
}

export interface Envelope {
  m: StageChanged | HandsChanged | Invited | InvitationAnswered | Removed | CaptionPosted | Talking | Presence | CaptionsStatusChanged | RoomOver | Welcome | RoleChanged | CaptionsSet | Pong | ErrorReply;
  id: string | null;
}

export type Command =
  | Hello
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
  | Ping;

export type Event =
  | StageChanged
  | HandsChanged
  | Invited
  | InvitationAnswered
  | Removed
  | CaptionPosted
  | Talking
  | Presence
  | CaptionsStatusChanged
  | RoomOver;

export type Reply =
  | Welcome
  | RoleChanged
  | CaptionsSet
  | Pong
  | ErrorReply;
