// The room's WebSocket: it comes back by itself and misses nothing.
//
// The first message is `hello` with the token, the caption language and the cursor of the last
// stored event seen; the server answers `welcome` and sends what was missed.

/** @typedef {import("./protocol.js").Command} Command */
/** @typedef {import("./protocol.js").Envelope} Envelope */
/** @typedef {import("./protocol.js").Event} RoomEvent */
/** @typedef {import("./protocol.js").Reply} Reply */
/** @typedef {"connecting" | "live" | "reconnecting" | "stopped"} SocketState */

const FIRST_WAIT_MS = 400;
const LONGEST_WAIT_MS = 15_000;
const PING_EVERY_MS = 10_000;
const SILENT_FOR_MS = 16_000;
const HELLO_WITHIN_MS = 8_000;

/**
 * How long to wait before a try: doubling, with jitter so that a whole audience does not come
 * back in the same instant.
 * @param {number} failures How many tries have failed since the last good connection, from 1.
 * @param {() => number} [random] 0 to 1.
 */
export function backoff(failures, random = Math.random) {
  const ceiling = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(failures, 10));
  return ceiling / 2 + (random() * ceiling) / 2;
}

export class RoomSocket {
  /** @type {WebSocket | null} */
  #socket = null;
  #failures = 0;
  #lastHeard = 0;
  #openedAt = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retry;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #heart;
  /** @type {SocketState} */
  state = "connecting";
  /** Cursor of the last stored event. @type {string | null} */
  cursor = null;

  /**
   * @param {object} options
   * @param {string} options.room
   * @param {string} options.token
   * @param {string | null} options.captions
   * @param {(message: RoomEvent | Reply) => void} options.onMessage
   * @param {(state: SocketState) => void} options.onState
   */
  constructor({ room, token, captions, onMessage, onState }) {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.url = `${scheme}://${location.host}/api/rooms/${encodeURIComponent(room)}/ws`;
    this.token = token;
    this.captions = captions;
    this.onMessage = onMessage;
    this.onState = onState;
    this.#heart = setInterval(() => this.#beat(), 1000);
    window.addEventListener("online", this.#hurry);
    window.addEventListener("offline", this.#doubt);
    this.#open();
  }

  /**
   * Send a command. False where there is no connection now.
   * @param {Command} command
   */
  send(command) {
    if (this.state !== "live" || this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(command));
    return true;
  }

  stop() {
    clearTimeout(this.#retry);
    clearInterval(this.#heart);
    window.removeEventListener("online", this.#hurry);
    window.removeEventListener("offline", this.#doubt);
    this.#to("stopped");
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  /** @param {SocketState} state */
  #to(state) {
    if (this.state === state) return;
    this.state = state;
    this.onState(state);
  }

  #open() {
    const socket = new WebSocket(this.url);
    this.#socket = socket;
    this.#openedAt = this.#lastHeard = Date.now();
    socket.addEventListener("open", () => {
      /** @type {Command} */
      const hello = {
        type: "hello",
        token: this.token,
        captions: this.captions,
        cursor: this.cursor,
      };
      socket.send(JSON.stringify(hello));
    });
    socket.addEventListener("message", (event) => {
      if (socket === this.#socket && typeof event.data === "string") this.#take(event.data);
    });
    socket.addEventListener("close", () => this.#lost(socket));
  }

  /** @param {string} data */
  #take(data) {
    this.#lastHeard = Date.now();
    /** @type {Envelope} */
    const { id, m } = JSON.parse(data);
    if (m.type === "welcome") {
      this.#failures = 0;
      this.cursor ??= m.cursor;
      if (!m.resumed) this.cursor = m.cursor;
      this.#to("live");
    }
    if (id) this.cursor = id;
    this.onMessage(m);
  }

  /** @param {WebSocket} socket */
  #lost(socket) {
    if (socket !== this.#socket) return;
    this.#socket = null;
    socket.close();
    if (this.state === "stopped") return;
    this.#to("reconnecting");
    this.#failures += 1;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#open(), backoff(this.#failures));
  }

  #beat() {
    const socket = this.#socket;
    if (!socket) return;
    const silent = Date.now() - this.#lastHeard;
    if (this.state !== "live") {
      if (Date.now() - this.#openedAt > HELLO_WITHIN_MS) this.#lost(socket);
    } else if (silent > SILENT_FOR_MS) {
      this.#lost(socket);
    } else if (silent > PING_EVERY_MS) {
      this.send({ type: "ping", t: performance.now() });
    }
  }

  /** The network is back: no waiting out the pause. */
  #hurry = () => {
    if (this.state === "stopped" || this.#socket) return;
    clearTimeout(this.#retry);
    this.#open();
  };

  /** The browser says that the network is gone: ask at once, and do not wait long. */
  #doubt = () => {
    this.send({ type: "ping", t: performance.now() });
    this.#lastHeard = Math.min(this.#lastHeard, Date.now() - SILENT_FOR_MS + 4000);
  };
}
