// The person's own microphone in the room: on, off, muted, and what is wrong with it.

import { wordsOf } from "./api.js";
import { $ } from "./dom.js";
import { t } from "./i18n.js";
import { MicError, Publishing } from "./publish.js";

const WISH_MS = 3_000;

export class Microphone {
  /** @type {Publishing | null} */
  #publishing = null;
  starting = false;
  /** Counts starts and stops; a microphone that is granted after a stop is put away again. */
  #turn = 0;
  #muted = false;
  /** Until when the person's own wish stands against older news, local milliseconds. */
  #wishUntil = 0;

  /**
   * @param {object} options
   * @param {string} options.room
   * @param {string} options.token
   * @param {() => void} options.onChange
   * @param {(text: string, retry?: () => void) => void} options.onProblem Empty text: all is well.
   */
  constructor({ room, token, onChange, onProblem }) {
    this.room = room;
    this.token = token;
    this.onChange = onChange;
    this.onProblem = onProblem;
  }

  get live() {
    return this.#publishing !== null;
  }

  get muted() {
    return this.#muted;
  }

  set muted(muted) {
    this.#muted = muted;
    if (this.#publishing) this.#publishing.muted = muted;
    this.onChange();
  }

  /**
   * Mute or unmute by the person's own hand; news that was on its way does not undo it.
   * @param {boolean} muted
   */
  wish(muted) {
    this.#wishUntil = Date.now() + WISH_MS;
    this.muted = muted;
  }

  /**
   * What the server says of it. It can mute a microphone, never open one: that is for the person
   * alone. True where it muted one.
   * @param {boolean} muted
   */
  muteTo(muted) {
    if (muted === this.#muted) this.#wishUntil = 0;
    if (!muted || this.#muted || Date.now() < this.#wishUntil) return false;
    this.muted = true;
    return this.live;
  }

  /** @param {boolean} muted */
  async start(muted) {
    if (this.starting || this.#publishing) return;
    const turn = ++this.#turn;
    this.starting = true;
    this.#muted = muted;
    this.onProblem("");
    this.onChange();
    const meter = $("meter");
    const again = () => void this.start(this.#muted);
    try {
      const publishing = await Publishing.start({
        room: this.room,
        token: this.token,
        muted,
        onLevel: (level) => meter.style.setProperty("--level", this.#muted ? "0" : level.toFixed(3)),
        onState: (state) => {
          if (state === "connected") this.onProblem("");
        },
        onError: (error, hopeless) => {
          const text =
            error.code === "conflict"
              ? t("banner.mic_elsewhere")
              : t("banner.mic_failed", { detail: error.words });
          this.onProblem(text, hopeless ? again : undefined);
          if (hopeless) this.stop();
        },
        onEnded: () => {
          this.stop();
          this.onProblem(t("banner.mic_missing"), again);
        },
      });
      if (turn !== this.#turn) {
        publishing.stop();
        return;
      }
      this.#publishing = publishing;
      publishing.muted = this.#muted;
    } catch (error) {
      if (turn !== this.#turn) return;
      const text =
        error instanceof MicError && error.problem !== "failed"
          ? t(`banner.mic_${error.problem}`)
          : t("banner.mic_failed", { detail: wordsOf(error) });
      this.onProblem(text, again);
    } finally {
      if (turn === this.#turn) this.starting = false;
      this.onChange();
    }
  }

  stop() {
    this.#turn += 1;
    this.starting = false;
    this.#publishing?.stop();
    this.#publishing = null;
    $("meter").style.setProperty("--level", "0");
    this.onChange();
  }

  check() {
    this.#publishing?.peer.check();
  }
}
