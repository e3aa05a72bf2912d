// The captions on the screen: lines kept in place, no jumps while somebody reads back.

import { visible } from "./captions.js";
import { $, avatar, hue, make } from "./dom.js";
import { t, uiLanguage } from "./i18n.js";
import { endonym, nameOf } from "./languages.js";
import { words } from "./api.js";

/** @typedef {import("./captions.js").Line} Line */
/** @typedef {import("./captions.js").CaptionLog} CaptionLog */
/** @typedef {import("./captions.js").Show} Show */

/** Lines of one person closer than this are shown under one name, in milliseconds. */
const SAME_TURN_MS = 15_000;
/** Nearer to the end than this counts as reading the newest, in pixels. */
const AT_END_PX = 60;
/** Lines that screen readers are told of are kept no longer than this, in milliseconds. */
const SPOKEN_FOR_MS = 10_000;

export class CaptionsView {
  #list = $("captions", HTMLOListElement);
  #scroll = $("captions-scroll");
  #newest = $("newest", HTMLButtonElement);
  #live = $("captions-live");
  /** @type {Map<string, HTMLLIElement>} */
  #rows = new Map();
  #atEnd = true;
  /** @type {string | null} */
  language = null;
  /** @type {Show} */
  show = "both";

  /**
   * @param {CaptionLog} log
   * @param {number} createdAt Unix seconds of the room's clock's zero.
   */
  constructor(log, createdAt) {
    this.log = log;
    this.createdAt = createdAt;
    this.#scroll.addEventListener(
      "scroll",
      () => {
        this.#atEnd = this.#distance() < AT_END_PX;
        if (this.#atEnd) this.#newest.hidden = true;
      },
      { passive: true },
    );
    this.#newest.addEventListener("click", () => {
      this.#toEnd();
      this.#scroll.focus({ preventScroll: true });
    });
    // The panel also changes height by itself: keyboard, rotation, the hands' queue.
    new ResizeObserver(() => this.#atEnd && this.#toEnd()).observe(this.#scroll);
  }

  /** @param {Line} line Just taken in by the log. */
  update(line) {
    const before = this.#rows.get(line.utterance);
    const wasSettled = before?.dataset["settled"] === "true";
    this.#place(line);
    this.#follow(!before);
    const settled = this.#rows.get(line.utterance)?.dataset["settled"] === "true";
    if (settled && !wasSettled) this.#say(line);
  }

  /** @param {readonly string[]} utterances */
  remove(utterances) {
    for (const utterance of utterances) {
      const row = this.#rows.get(utterance);
      const next = row?.nextElementSibling;
      row?.remove();
      this.#rows.delete(utterance);
      if (next instanceof HTMLLIElement) this.#group(next);
    }
    this.#follow(false);
  }

  /** Show everything anew: another language, another choice of what is shown. */
  redraw() {
    const kept = new Set(this.log.lines.map((line) => line.utterance));
    for (const [utterance, row] of this.#rows) {
      if (kept.has(utterance)) continue;
      row.remove();
      this.#rows.delete(utterance);
    }
    for (const line of this.log.lines) this.#place(line);
    this.#follow(false);
  }

  /** @returns {boolean} Whether old lines may go without moving what is read. */
  get following() {
    return this.#atEnd;
  }

  #distance() {
    const box = this.#scroll;
    return box.scrollHeight - box.scrollTop - box.clientHeight;
  }

  #toEnd() {
    this.#atEnd = true;
    this.#newest.hidden = true;
    this.#scroll.scrollTop = this.#scroll.scrollHeight;
  }

  /** @param {boolean} news Whether there is something new under what is being read. */
  #follow(news) {
    $("captions-empty").hidden = this.#rows.size > 0;
    this.#list.hidden = this.#rows.size === 0;
    if (this.#atEnd) this.#toEnd();
    else if (news) this.#newest.hidden = false;
  }

  /** @param {Line} line */
  #place(line) {
    let row = this.#rows.get(line.utterance);
    if (!row) {
      row = make("li", { class: "caption" });
      row.dataset["participant"] = line.participant;
      row.dataset["utterance"] = line.utterance;
      row.dataset["start"] = String(line.start_ms);
      row.style.setProperty("--hue", String(hue(line.participant)));
      row.append(
        avatar(line.participant, line.name),
        make("div", { class: "by" }),
        make("div", { class: "words" }),
      );
      this.#rows.set(line.utterance, row);
      const lines = this.log.lines;
      const next = lines[lines.indexOf(line) + 1];
      this.#list.insertBefore(row, next ? (this.#rows.get(next.utterance) ?? null) : null);
    }
    row.dataset["end"] = String(line.end_ms);
    row.classList.toggle("partial", !line.final);
    this.#fill(row, line);
    this.#group(row);
    const next = row.nextElementSibling;
    if (next instanceof HTMLLIElement) this.#group(next);
  }

  /**
   * @param {HTMLLIElement} row
   * @param {Line} line
   */
  #fill(row, line) {
    const at = new Date(this.createdAt * 1000 + line.start_ms);
    row.querySelector(".by")?.replaceChildren(
      make("b", { text: line.name }),
      make("span", { text: endonym(line.language), lang: line.language }),
      make("span", {
        text: at.toLocaleTimeString(uiLanguage(), { hour: "2-digit", minute: "2-digit" }),
      }),
    );
    const { original, translation, missing, settled } = visible(line, this.language, this.show);
    row.dataset["settled"] = String(settled);
    const parts = [];
    if (original !== null) {
      const above = translation !== null ? " above" : "";
      parts.push(make("p", { class: `original${above}`, text: original, lang: line.language }));
    }
    if (translation !== null) {
      const old = line.stale?.includes(this.language ?? "") ? " stale" : "";
      parts.push(
        make("p", { class: `translation${old}`, text: translation, lang: this.language ?? "" }),
      );
    }
    if (missing !== null && line.final && this.language) {
      const text =
        missing === "language_unavailable"
          ? t("captions.no_model", { from: nameOf(line.language), to: nameOf(this.language) })
          : t("captions.no_translation", { reason: words(missing, missing) });
      parts.push(make("p", { class: "missing", text }));
    }
    for (const part of parts) part.dir = "auto";
    row.querySelector(".words")?.replaceChildren(...parts);
  }

  /**
   * Whether the row goes on under the name of the row before it.
   * @param {HTMLLIElement} row
   */
  #group(row) {
    const before = row.previousElementSibling;
    const same =
      before instanceof HTMLLIElement &&
      before.dataset["participant"] === row.dataset["participant"] &&
      Number(row.dataset["start"]) - Number(before.dataset["end"]) < SAME_TURN_MS;
    row.classList.toggle("same", same);
  }

  /**
   * Tell screen readers of a final line, in the language that is read, once.
   * @param {Line} line
   */
  #say(line) {
    const { original, translation } = visible(line, this.language, this.show);
    const language = translation === null ? line.language : (this.language ?? line.language);
    const words_ = make("span", { text: translation ?? original ?? "", lang: language });
    const said = make("p", { text: `${line.name}: ` }, words_);
    this.#live.append(said);
    setTimeout(() => said.remove(), SPOKEN_FOR_MS);
  }
}
