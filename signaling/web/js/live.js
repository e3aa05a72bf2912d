// Inside the room: what comes from the server to the screen, and what the person does to the
// server.

import { words, wordsOf } from "./api.js";
import { CaptionLog } from "./captions.js";
import { CaptionsView } from "./captions_view.js";
import { fillCaptions, fillSpoken } from "./choices.js";
import { ask, confirm, manage } from "./dialogs.js";
import { banner, drawConnection, drawDock } from "./dock.js";
import { $, toast } from "./dom.js";
import { t } from "./i18n.js";
import { endonym, label } from "./languages.js";
import { Listening } from "./listen.js";
import { Microphone } from "./microphone.js";
import { later, NewsFeed, readsSound } from "./news.js";
import { saveTranscript } from "./save.js";
import { preference, savePass } from "./session.js";
import { RoomSocket } from "./socket.js";
import { HandsView, StageView } from "./stage.js";
import { statusWords } from "./status.js";

/** @typedef {import("./protocol.js").Command} Command */
/** @typedef {import("./protocol.js").Event} RoomEvent */
/** @typedef {import("./protocol.js").Reply} Reply */
/** @typedef {import("./protocol.js").RoomInfo} RoomInfo */
/** @typedef {import("./protocol.js").StageMember} StageMember */
/** @typedef {import("./protocol.js").RoleName} RoleName */
/** @typedef {import("./protocol.js").Hand} Hand */
/** @typedef {import("./protocol.js").CaptionsStatus} CaptionsStatus */
/** @typedef {import("./session.js").Pass} Pass */
/** @typedef {{ kind: "left" | "ended" | "expired" | "unauthorized" } | { kind: "removed", reason: string }} Ending */

const SIZES = /** @type {const} */ (["s", "m", "l", "xl"]);
const SHOWN = /** @type {const} */ (["both", "translation", "original"]);
/** "sound" or "socket" in the address: captions come that way alone, for trying it. */
const WAY = new URLSearchParams(location.search).get("captions");
const KEEPERS = new Set(["host", "cohost"]);

export class LiveRoom {
  #me = "";
  /** @type {RoleName} */
  #role = "listener";
  /** @type {StageMember[]} */
  #stage = [];
  /** @type {Hand[]} */
  #hands = [];
  #listeners = 0;
  /** @type {CaptionsStatus | null} */
  #status = null;
  #handUp = false;
  #onStage = false;
  #over = false;
  /** Aborted at the end: takes every handler off the page's elements. */
  #end = new AbortController();
  #log = new CaptionLog();

  /**
   * @param {RoomInfo} room
   * @param {Pass} pass
   * @param {(ending: Ending) => void} onOver
   */
  constructor(room, pass, onOver) {
    this.room = room;
    this.pass = pass;
    this.onOver = onOver;
    this.#stage = room.stage;
    this.#listeners = room.listeners;
    this.view = new CaptionsView(this.#log, room.created_at);
    this.view.language = pass.captions;
    this.stageView = new StageView((member) => void this.#manage(member));
    this.handsView = new HandsView(
      (hand) => {
        if (this.#send({ type: "invite", participant: hand.participant })) {
          this.handsView.invited.add(hand.participant);
          this.#drawHands();
        }
      },
      (hand) => this.#send({ type: "lower_hand", participant: hand.participant }),
    );
    /** Made first: the sound is read from its first packet on. */
    this.news =
      WAY === "socket" || !readsSound()
        ? null
        : new NewsFeed({
            room: room.room,
            token: pass.token,
            captions: pass.captions,
            cursor: () => this.socket.cursor,
            covered: () => this.socket.state === "live" && WAY !== "sound",
            onEnvelope: ({ m }) => this.#take(m),
            onActive: () => this.#where(),
            onBroken: () => this.listening.peer.renew(),
            onCursor: (cursor) => {
              this.socket.cursor = later(this.socket.cursor, cursor);
            },
          });
    this.listening = new Listening({
      news: this.news,
      room: room.room,
      token: pass.token,
      holder: $("players"),
      onState: () => this.#drawConnection(),
      onError: (error) =>
        banner(
          "sound-error",
          error.code === "room_full"
            ? t("banner.sound_full")
            : t("banner.sound_failed", { detail: error.words }),
        ),
      onBlocked: (blocked) =>
        blocked
          ? banner("sound", t("banner.blocked"), "banner.blocked_button", () =>
              this.listening.play(),
            )
          : banner("sound", ""),
    });
    this.microphone = new Microphone({
      room: room.room,
      token: pass.token,
      onChange: () => this.#drawDock(),
      onProblem: (text, retry) =>
        banner("microphone", text, retry ? "banner.mic_retry" : "", retry),
    });
    this.socket = new RoomSocket({
      room: room.room,
      token: pass.token,
      captions: pass.captions,
      onMessage: (message) => this.#take(message),
      onState: (state) => {
        this.#drawConnection();
        if (state !== "live") return;
        this.#check();
        // A new connection is told everything.
        if (this.news?.active || WAY === "sound") this.#where();
      },
    });
    this.#wire();
    this.#preferences();
    this.draw();
  }

  // ------------------------------------------------------------------ from the server

  /** @param {RoomEvent | Reply} message */
  #take(message) {
    const now = Date.now();
    switch (message.type) {
      case "welcome":
        this.#me = message.participant;
        this.#role = message.role;
        this.room = message.room;
        this.#hands = message.hands;
        this.#status = message.captions_status;
        this.#listeners = message.room.listeners;
        if (!message.resumed) this.#log.clear();
        for (const caption of message.history) this.#log.take(caption, now);
        this.view.redraw();
        this.#setStage(message.room.stage);
        this.stageView.talking(message.talking);
        this.draw();
        if (message.room.ended) this.#finish({ kind: "ended" });
        else if (message.invited) void this.#invited();
        break;
      case "role":
        this.#role = message.role;
        this.#drawPeople();
        break;
      case "stage":
        this.#setStage(message.stage);
        break;
      case "hands":
        this.#setHands(message.hands);
        break;
      case "invited":
        if (message.participant === this.#me) void this.#invited();
        else {
          this.handsView.invited.add(message.participant);
          this.#drawHands();
        }
        break;
      case "invitation_answered":
        this.handsView.invited.delete(message.participant);
        if (!message.accepted && message.participant !== this.#me) {
          toast(t("toast.invited_declined", { name: message.name }));
        }
        this.#drawHands();
        break;
      case "removed":
        if (message.participant === this.#me) {
          this.#finish({ kind: "removed", reason: message.reason });
        }
        break;
      case "caption": {
        const line = this.#log.take(message.caption, now);
        if (line) this.view.update(line);
        if (this.view.following) this.view.remove(this.#log.trim());
        break;
      }
      case "captions_set":
        this.#log.retranslate(message.history, now);
        this.view.redraw();
        break;
      case "talking":
        this.stageView.talking(message.slots);
        break;
      case "presence":
        this.#listeners = message.listeners;
        this.#drawConnection();
        break;
      case "captions_status":
        this.#status = message.status;
        this.#drawStatus();
        break;
      case "room_over":
        this.#finish({ kind: message.reason });
        break;
      case "error":
        this.#refused(message);
        break;
      default:
    }
  }

  /** @param {import("./protocol.js").ErrorReply} error */
  #refused(error) {
    if (!error.fatal) {
      this.handsView.invited.clear();
      this.#drawHands();
      toast(words(error.code, error.message), "bad");
    } else if (error.code === "room_ended" || error.code === "room_not_found") {
      this.#finish({ kind: "ended" });
    } else if (error.code === "forbidden") {
      this.#finish({ kind: "removed", reason: "" });
    } else if (error.code === "unauthorized") {
      this.#finish({ kind: "unauthorized" });
    }
  }

  /** @param {StageMember[]} stage */
  #setStage(stage) {
    this.#stage = stage;
    const mine = stage.find((member) => member.participant === this.#me);
    const was = this.#onStage;
    this.#onStage = mine !== undefined;
    if (mine) {
      this.#role = mine.role;
      if (!was) void this.microphone.start(mine.muted);
      else if (this.microphone.muteTo(mine.muted)) toast(t("toast.muted_by_host"));
      if (!was && mine.role === "speaker") toast(t("toast.on_stage"));
    } else if (was) {
      this.#role = "listener";
      this.microphone.stop();
      toast(t("toast.off_stage"));
    }
    this.#drawPeople();
  }

  /** @param {Hand[]} hands */
  #setHands(hands) {
    const known = new Set(hands.map((hand) => hand.participant));
    for (const participant of this.handsView.invited) {
      if (!known.has(participant)) this.handsView.invited.delete(participant);
    }
    this.#hands = hands;
    this.#drawHands();
    this.#drawDock();
  }

  async #invited() {
    if ($("invited-dialog", HTMLDialogElement).open) return;
    const answer = await ask("invited-dialog");
    if (this.#over || this.#onStage || answer === "gone") return;
    this.#send({ type: "answer_invitation", accept: answer === "yes" });
  }

  /** @param {Ending} ending */
  #finish(ending) {
    if (this.#over) return;
    this.#over = true;
    this.#end.abort();
    this.socket.stop();
    this.listening.stop();
    this.news?.stop();
    this.microphone.stop();
    for (const dialog of document.querySelectorAll("dialog")) dialog.close("gone");
    banner("sound", "");
    banner("microphone", "");
    this.#log.clear();
    this.view.redraw();
    this.onOver(ending);
  }

  // ---------------------------------------------------------------------- to the server

  /** Say whether captions and passing news are read in the sound. */
  #where() {
    const inSound = (this.news?.active ?? false) || WAY === "sound";
    document.body.dataset["news"] = this.news?.active ? "sound" : "socket";
    this.socket.send({ type: "set_news", in_sound: inSound });
  }

  /** @param {Command} command */
  #send(command) {
    if (this.socket.send(command)) return true;
    toast(t("connection.reconnecting"), "bad");
    return false;
  }

  /** @param {string | null} language */
  #read(language) {
    this.pass = { ...this.pass, captions: language };
    savePass(this.room.room, this.pass);
    localStorage.setItem("captions", language ?? "");
    this.socket.captions = language;
    if (this.news) this.news.captions = language;
    this.listening.reread();
    this.view.language = language;
    this.view.redraw();
    // Without a connection now, the next hello says it.
    this.socket.send({ type: "set_captions", captions: language });
    this.#drawStatus();
    toast(
      language
        ? t("toast.captions_into", { language: label(language) })
        : t("toast.captions_original"),
    );
  }

  /** @param {StageMember} member */
  async #manage(member) {
    const { participant, name } = member;
    const choice = await manage(member, member.role === "host");
    if (choice === "mute") this.#send({ type: "set_muted", muted: true, participant });
    if (choice === "down") this.#send({ type: "leave_stage", participant });
    if (choice !== "remove") return;
    const { yes, reason } = await confirm({
      title: t("member.remove_title", { name }),
      text: t("member.remove_text"),
      yes: t("member.remove_yes"),
      reason: true,
    });
    if (yes) this.#send({ type: "remove", participant, reason });
  }

  async #hand() {
    if (this.#handUp) {
      this.#send({ type: "lower_hand" });
      return;
    }
    const speaks = $("hand-speaks", HTMLSelectElement);
    fillSpoken(speaks, this.room.languages, null);
    if ((await ask("hand-dialog")) !== "yes" || this.#over) return;
    if (this.#send({ type: "raise_hand", speaks: speaks.value })) toast(t("toast.hand_up"));
  }

  #mic() {
    if (!this.microphone.live) {
      const muted = this.#stage.find((m) => m.participant === this.#me)?.muted ?? false;
      void this.microphone.start(muted);
      return;
    }
    const muted = !this.microphone.muted;
    if (!this.#send({ type: "set_muted", muted })) return;
    this.microphone.wish(muted);
  }

  async #save() {
    const format = $("save-format", HTMLSelectElement).value;
    const who = { room: this.room.room, token: this.pass.token };
    try {
      await saveTranscript(who, format, this.pass.captions, this.view.show);
    } catch (error) {
      toast(wordsOf(error), "bad");
    }
  }

  async #endRoom() {
    $("settings-dialog", HTMLDialogElement).close("");
    const { yes } = await confirm({
      title: t("room.end_title"),
      text: t("room.end_text"),
      yes: t("room.end_yes"),
    });
    if (yes) this.#send({ type: "end_room" });
  }

  /** The network may be another one: see whether the sound still stands. */
  #check() {
    this.listening.peer.check();
    this.microphone.check();
  }

  #wire() {
    const { signal } = this.#end;
    /** @param {string} id @param {() => unknown} then */
    const click = (id, then) => $(id).addEventListener("click", () => void then(), { signal });
    click("save-button", () => this.#save());
    click("share-button", () => ask("share-dialog"));
    click("settings-button", () => ask("settings-dialog"));
    click("hand-button", () => this.#hand());
    click("mic-button", () => this.#mic());
    click("leave-stage-button", () => this.#send({ type: "leave_stage" }));
    click("end-room-button", () => this.#endRoom());
    click("leave-button", () => {
      if (this.#onStage && this.#role === "speaker") this.socket.send({ type: "leave_stage" });
      if (this.#handUp) this.socket.send({ type: "lower_hand" });
      this.#finish({ kind: "left" });
    });
    click("sound-button", () => {
      this.listening.muted = !this.listening.muted;
      if (!this.listening.muted) this.listening.play();
      this.#drawDock();
    });
    const language = $("captions-language", HTMLSelectElement);
    language.addEventListener("change", () => this.#read(language.value || null), { signal });
    const speaks = $("settings-speaks", HTMLSelectElement);
    speaks.addEventListener(
      "change",
      () => this.#send({ type: "set_speaks", speaks: speaks.value }),
      { signal },
    );
    window.addEventListener("online", () => this.#check(), { signal });
    window.addEventListener(
      "pagehide",
      () => {
        this.listening.peer.stop();
        this.microphone.stop();
      },
      { signal },
    );
    const stale = setInterval(() => this.view.remove(this.#log.expire(Date.now())), 2000);
    signal.addEventListener("abort", () => clearInterval(stale));
  }

  #preferences() {
    const { signal } = this.#end;
    const size = preference("size", SIZES, "m");
    const shown = preference("show", SHOWN, "both");
    document.body.dataset["size"] = size;
    this.view.show = shown;
    for (const radio of /** @type {NodeListOf<HTMLInputElement>} */ (
      document.querySelectorAll("#settings-dialog input[type=radio]")
    )) {
      radio.checked = radio.value === (radio.name === "size" ? size : shown);
      radio.addEventListener(
        "change",
        () => {
          localStorage.setItem(radio.name, radio.value);
          if (radio.name === "size") document.body.dataset["size"] = radio.value;
          else this.view.show = /** @type {typeof shown} */ (radio.value);
          this.view.redraw();
        },
        { signal },
      );
    }
  }

  // ---------------------------------------------------------------------- to the screen

  /** Everything anew, in the language of the page. */
  draw() {
    $("room-title").textContent = this.room.title;
    document.title = t("join.page", { title: this.room.title });
    $("room-rules").textContent = this.room.rules;
    $("about-section").hidden = !this.room.rules;
    this.view.redraw();
    this.#drawPeople();
    this.#drawConnection();
    this.#drawStatus();
  }

  /** Who is on stage, and what that lets this person do. */
  #drawPeople() {
    $("end-room-box").hidden = this.#role !== "host";
    const mine = this.#stage.find((member) => member.participant === this.#me);
    $("speaks-field").hidden = !mine;
    if (mine) fillSpoken($("settings-speaks", HTMLSelectElement), this.room.languages, mine.speaks);
    const keeper = KEEPERS.has(this.#role);
    this.stageView.show(
      this.#stage,
      this.#me,
      (member) => keeper && member.participant !== this.#me,
    );
    this.#drawHands();
    this.#drawDock();
  }

  #drawHands() {
    this.#handUp = this.#hands.some((hand) => hand.participant === this.#me);
    this.handsView.show(this.#hands, KEEPERS.has(this.#role));
  }

  #drawDock() {
    drawDock({
      soundOff: this.listening.muted,
      known: this.#me !== "",
      onStage: this.#onStage,
      host: this.#role === "host",
      handUp: this.#handUp,
      microphone: this.microphone,
    });
  }

  #drawConnection() {
    // Called by what these are made of, before they are there.
    const sound = this.listening?.peer?.state ?? "starting";
    drawConnection(this.socket?.state ?? "connecting", sound, this.#listeners);
    if (sound === "connected") banner("sound-error", "");
  }

  #drawStatus() {
    const { text, bad } = statusWords(this.#status, this.pass.captions, this.room.languages);
    const line = $("captions-status");
    if (line.textContent !== text) line.textContent = text;
    line.dataset["tone"] = bad ? "bad" : "";
    line.dataset["state"] = this.#status?.state ?? "";
    $("captions-empty-text").textContent = t(
      this.#status?.state === "off" ? "captions.empty_off" : "captions.empty",
    );
    const select = $("captions-language", HTMLSelectElement);
    // An open list must not be changed under the finger.
    if (document.activeElement === select && select.options.length) return;
    fillCaptions(select, this.room.languages, this.#status, this.pass.captions, endonym);
  }
}
