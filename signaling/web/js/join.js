// The screen before the room: what it is about, who is there, and how one wants to read.

import { getRoom, join, wordsOf } from "./api.js";
import { captionsNote, fillCaptions } from "./choices.js";
import { $, avatar, make } from "./dom.js";
import { t } from "./i18n.js";
import { COMMON, browserLanguage, endonym } from "./languages.js";
import { claimsOf, loadPass, savePass } from "./session.js";

/** @typedef {import("./protocol.js").RoomInfo} RoomInfo */
/** @typedef {import("./protocol.js").CaptionsStatus} CaptionsStatus */
/** @typedef {import("./session.js").Pass} Pass */

const REFRESH_MS = 5_000;

export class JoinScreen {
  #name = $("join-name", HTMLInputElement);
  #captions = $("join-captions", HTMLSelectElement);
  #button = $("join-button", HTMLButtonElement);
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #refresh;
  /** @type {RoomInfo | null} */
  #room = null;
  /** @type {Pass | null} */
  #pass = null;
  /** @type {CaptionsStatus | null} */
  #status = null;
  #working = false;

  /** @param {(room: RoomInfo, pass: Pass) => void} onJoined Called inside the click. */
  constructor(onJoined) {
    this.onJoined = onJoined;
    $("join-form").addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#join();
    });
    this.#captions.addEventListener("change", () => this.#note());
    this.#name.value = localStorage.getItem("name") ?? "";
  }

  /**
   * @param {RoomInfo} room
   * @param {Pass | null} pass Of somebody who was here before, or who has a host link.
   * @param {CaptionsStatus | null} status
   */
  show(room, pass, status) {
    this.#room = room;
    this.#pass = pass;
    this.#status = status;
    if (pass?.name) this.#name.value = pass.name;
    fillCaptions(this.#captions, room.languages, status, this.#firstChoice(room, pass));
    this.draw();
    $("screen-join").hidden = false;
    clearInterval(this.#refresh);
    this.#refresh = setInterval(() => void this.#look(), REFRESH_MS);
    // On a small screen the focus would scroll what the room is about out of sight.
    if (!matchMedia("(min-width: 860px)").matches) return;
    if (pass?.host || this.#name.value) this.#button.focus();
    else this.#name.focus();
  }

  hide() {
    clearInterval(this.#refresh);
    $("screen-join").hidden = true;
  }

  draw() {
    const room = this.#room;
    if (!room) return;
    const host = this.#pass?.host ?? false;
    document.title = t("join.page", { title: room.title });
    $("join-eyebrow").textContent = t("join.eyebrow", { n: room.listeners });
    $("join-title").textContent = room.title;
    $("join-languages").textContent = t("join.languages", {
      languages: room.languages.map(endonym).join(" · "),
    });
    $("join-stage-box").hidden = room.stage.length === 0;
    $("join-stage").replaceChildren(
      ...room.stage.map((member) =>
        make("li", {}, avatar(member.participant, member.name), make("span", { text: member.name })),
      ),
    );
    $("join-rules-box").hidden = !room.rules;
    $("join-rules").textContent = room.rules;
    const name = this.#pass?.name ?? "";
    $("join-heading").textContent = host
      ? name
        ? t("join.heading_host", { name })
        : t("join.heading_host_plain")
      : t("join.heading");
    $("join-name-field").hidden = host;
    $("join-host-note").hidden = !host;
    $("join-hint").hidden = host;
    if (!this.#working) this.#button.textContent = t(host ? "join.button_host" : "join.button");
    fillCaptions(this.#captions, room.languages, this.#status, this.#captions.value || null);
    this.#note();
  }

  #note() {
    const spoken = this.#room?.languages ?? [];
    const note = captionsNote(this.#captions.value || null, spoken, this.#status);
    $("join-captions-note").textContent = note;
    $("join-captions-note").hidden = !note;
  }

  /**
   * @param {RoomInfo} room
   * @param {Pass | null} pass
   */
  #firstChoice(room, pass) {
    if (pass?.inside) return pass.captions;
    const remembered = localStorage.getItem("captions");
    if (remembered !== null) return remembered || null;
    const own = browserLanguage();
    return room.languages.includes(own) || COMMON.includes(own) ? own : null;
  }

  /** Who is there changes while somebody reads the rules. */
  async #look() {
    if (!this.#room || document.hidden) return;
    try {
      this.#room = await getRoom(this.#room.room);
      $("join-eyebrow").textContent = t("join.eyebrow", { n: this.#room.listeners });
    } catch {
      // The join itself will say what is wrong.
    }
  }

  /** @param {string} text */
  #complain(text) {
    $("join-error").textContent = text;
    $("join-error").hidden = !text;
    this.#working = false;
    this.#button.disabled = false;
    this.draw();
  }

  async #join() {
    const room = this.#room;
    if (!room || this.#working) return;
    const captions = this.#captions.value || null;
    const name = this.#name.value.trim();
    $("join-error").hidden = true;
    if (!this.#pass?.host && !name) {
      this.#complain(t("join.need_name"));
      this.#name.focus();
      return;
    }
    localStorage.setItem("captions", captions ?? "");
    this.#working = true;
    this.#button.disabled = true;
    this.#button.textContent = t("join.working");
    try {
      const kept = this.#pass ?? loadPass(room.room);
      // Who was here under this name is the same person still.
      const same = kept && (kept.host || kept.name === name);
      const pass = same ? { ...kept, captions, inside: true } : await this.#enter(room, name, captions);
      savePass(room.room, pass);
      if (!pass.host) localStorage.setItem("name", name);
      this.#working = false;
      this.#button.disabled = false;
      this.onJoined(room, pass);
    } catch (error) {
      this.#complain(wordsOf(error));
    }
  }

  /**
   * @param {RoomInfo} room
   * @param {string} name
   * @param {string | null} captions
   * @returns {Promise<Pass>}
   */
  async #enter(room, name, captions) {
    const joined = await join(room.room, { name, captions });
    return {
      token: joined.token,
      name: claimsOf(joined.token).name ?? name,
      host: false,
      captions,
      inside: true,
    };
  }
}
