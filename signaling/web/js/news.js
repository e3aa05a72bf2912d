// Captions and passing news out of the sound, where the browser can and they arrive; else nobody
// notices and the WebSocket brings them.

import { request } from "./api.js";

/** @typedef {import("./protocol.js").Envelope} Envelope */
/** @typedef {import("./news_worker.js").FromWorker} FromWorker */

const LOAD_WITHIN_MS = 2_000;
const SILENT_FOR_MS = 4_000;
const FETCH_AFTER_MS = 400;
const FETCH_SPREAD_MS = 1_600;
const FETCH_AGAIN_MS = 5_000;

/** What reaches a page in the sound; the rest always comes over the WebSocket. */
const IN_SOUND = new Set(["caption", "talking", "presence", "captions_status"]);

/** Whether this browser can read the sound that it plays. */
export function readsSound() {
  return typeof RTCRtpScriptTransform === "function" && typeof Worker === "function";
}

/**
 * The later of two cursors.
 * @param {string | null} a
 * @param {string | null} b
 */
export function later(a, b) {
  if (a === null || b === null) return a ?? b;
  const [x = 0, i = 0] = a.split("-").map(Number);
  const [y = 0, j = 0] = b.split("-").map(Number);
  return x > y || (x === y && i >= j) ? a : b;
}

export class NewsFeed {
  /** Whether everything is had from the sound now, so that the WebSocket may leave it out. */
  active = false;
  /** @type {Worker | null} */
  #worker = null;
  /** @type {(ready: boolean) => void} */
  #settle = () => {};
  #attached = false;
  /** Whether the worker runs; known after a while. @type {Promise<boolean>} */
  ready = new Promise((resolve) => (this.#settle = resolve));
  #heardAt = -Infinity;
  #missing = false;
  #latest = 0;
  /** Up to here all stored events are known; null while the WebSocket knows it. @type {string | null} */
  #cursor = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #fetch;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #watch;
  #stopped = false;

  /**
   * @param {object} options
   * @param {string} options.room
   * @param {string} options.token
   * @param {string | null} options.captions
   * @param {() => string | null} options.cursor The WebSocket's.
   * @param {() => boolean} options.covered Whether the WebSocket brings everything now.
   * @param {(envelope: Envelope) => void} options.onEnvelope
   * @param {(active: boolean) => void} options.onActive
   * @param {(cursor: string) => void} options.onCursor
   * @param {() => void} options.onBroken The sound has to be connected anew, without this.
   */
  constructor({ room, token, captions, cursor, covered, onEnvelope, onActive, onCursor, onBroken }) {
    this.covered = covered;
    this.onBroken = onBroken;
    this.path = `/api/rooms/${encodeURIComponent(room)}/events`;
    this.token = token;
    this.captions = captions;
    this.cursor = cursor;
    this.onEnvelope = onEnvelope;
    this.onActive = onActive;
    this.onCursor = onCursor;
    const worker = new Worker(new URL("news_worker.js", import.meta.url), { type: "module" });
    worker.addEventListener("message", ({ data }) => this.#take(data));
    worker.addEventListener("error", () => this.#fail());
    this.#worker = worker;
    // Too late is as good as never for this connection; the next may have it.
    setTimeout(() => this.#settle(false), LOAD_WITHIN_MS);
    this.#watch = setInterval(() => this.#look(), 1000);
  }

  /**
   * Read what a receiver plays; to be called right after `addTransceiver`.
   * @param {RTCRtpReceiver} receiver
   */
  attach(receiver) {
    if (!this.#worker) return;
    receiver.transform = new RTCRtpScriptTransform(this.#worker, {});
    this.#attached = true;
  }

  stop() {
    this.#stopped = true;
    clearTimeout(this.#fetch);
    clearInterval(this.#watch);
    // A worker that ends takes the sound with it: only after the connection.
    const worker = this.#worker;
    setTimeout(() => worker?.terminate(), 1000);
    this.#worker = null;
  }

  /** Without its worker the sound would not be heard: leave it out. */
  #fail() {
    if (!this.#worker) return;
    this.#worker.terminate();
    this.#worker = null;
    this.ready = Promise.resolve(false);
    this.#settle(false);
    this.#to(false);
    if (this.#attached) this.onBroken();
  }

  /** @param {FromWorker} message */
  #take({ type, language, latest = 0, missing = false, told = [] }) {
    if (type === "ready") {
      this.#settle(true);
      this.ready = Promise.resolve(true);
    }
    if (this.#stopped || type !== "news" || language !== (this.captions ?? "")) return;
    this.#heardAt = performance.now();
    this.#latest = latest;
    this.#missing = missing;
    /** @type {string | null} */
    let newest = null;
    for (const { text } of told) {
      /** @type {Envelope} */
      const envelope = JSON.parse(text);
      if (envelope.id) newest = later(newest, envelope.id);
      if (IN_SOUND.has(envelope.m.type)) this.onEnvelope(envelope);
    }
    if (missing && !this.active && this.covered()) {
      // What was before came, or comes, that way: joining costs no request.
      this.#worker?.postMessage({ caughtUp: latest });
    } else if (missing) {
      this.#fetch ??= setTimeout(
        () => void this.#catchUp(),
        // Most of it comes again by itself; and not everybody asks in the same instant.
        FETCH_AFTER_MS + Math.random() * FETCH_SPREAD_MS,
      );
    } else {
      if (this.active && newest) this.#know(newest);
      this.#to(true);
    }
  }

  /** @param {string} cursor */
  #know(cursor) {
    this.#cursor = later(this.#cursor, cursor);
    if (this.#cursor) this.onCursor(this.#cursor);
  }

  /** @param {boolean} active */
  #to(active) {
    if (active === this.active || this.#stopped) return;
    if (active) this.#cursor ??= this.cursor();
    this.active = active;
    this.onActive(active);
    // What was said between the sound and the WebSocket.
    if (!active) void this.#catchUp();
  }

  #look() {
    if (this.active && performance.now() - this.#heardAt > SILENT_FOR_MS) this.#to(false);
  }

  /** Fetch what was missed. */
  async #catchUp() {
    clearTimeout(this.#fetch);
    const after = this.#cursor ?? this.cursor();
    const latest = this.#latest;
    const language = this.captions;
    let again = 0;
    if (after === null) {
      again = FETCH_AFTER_MS;
    } else if (this.#missing || !this.active) {
      try {
        const query = new URLSearchParams({ after, ...(language ? { captions: language } : {}) });
        const headers = { Authorization: `Bearer ${this.token}` };
        const reply = await request(`${this.path}?${query}`, { headers });
        /** @type {{ cursor: string, events: Envelope[] }} */
        const { cursor, events } = await reply.json();
        if (this.#stopped) return;
        for (const envelope of events) {
          if (IN_SOUND.has(envelope.m.type)) this.onEnvelope(envelope);
        }
        this.#know(cursor);
        if (!this.active && !this.#missing) this.#cursor = null;
        if (language === this.captions) this.#worker?.postMessage({ caughtUp: latest });
      } catch {
        again = FETCH_AGAIN_MS * (0.5 + Math.random());
      }
    }
    this.#fetch = undefined;
    if (again && !this.#stopped) this.#fetch = setTimeout(() => void this.#catchUp(), again);
  }
}
