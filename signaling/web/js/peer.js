// One RTCPeerConnection kept up over WHIP or WHEP (RFC 9725): made with a POST, mended with an ICE
// restart by PATCH or, where that does not help, made anew, and ended with a DELETE.

import { ApiError, request } from "./api.js";
import { backoff } from "./socket.js";

/** @typedef {"starting" | "connected" | "mending" | "stopped"} PeerState */

const GRACE_MS = 2_500;
const MEND_WITHIN_MS = 6_000;
const CONNECT_WITHIN_MS = 12_000;

/** Errors that trying again does not help. */
const HOPELESS = new Set(["unauthorized", "forbidden", "room_ended", "room_not_found", "no_opus"]);

export class Peer {
  /** @type {RTCPeerConnection | null} */
  pc = null;
  /** @type {PeerState} */
  state = "starting";
  #session = "";
  #answer = "";
  #failures = 0;
  /** Number of the present attempt; what belongs to an older one is ignored. */
  #attempt = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {object} options
   * @param {string} options.endpoint Path of the WHIP or WHEP endpoint.
   * @param {string} options.token
   * @param {(pc: RTCPeerConnection) => void | Promise<void>} options.prepare Adds transceivers
   *   and handlers.
   * @param {(sdp: string) => string} [options.munge] Last word on the offer.
   * @param {(state: PeerState) => void} options.onState
   * @param {(error: ApiError, hopeless: boolean) => void} options.onError
   */
  constructor({ endpoint, token, prepare, munge = (sdp) => sdp, onState, onError }) {
    this.endpoint = endpoint;
    this.token = token;
    this.prepare = prepare;
    this.munge = munge;
    this.onState = onState;
    this.onError = onError;
    void this.#make();
  }

  /** End the session; also while the page is being left. */
  stop() {
    this.#to("stopped");
    this.#attempt += 1;
    clearTimeout(this.#timer);
    this.#drop();
  }

  /** Make the connection anew, whatever the state of this one. */
  renew() {
    if (this.state !== "stopped") void this.#make();
  }

  /** The network has changed or is back: look at once whether the connection still stands. */
  check() {
    if (this.state === "mending" && this.pc) void this.#restart();
  }

  /** @param {PeerState} state */
  #to(state) {
    if (this.state === state || this.state === "stopped") return;
    this.state = state;
    this.onState(state);
  }

  /** @param {number} ms @param {() => void} then */
  #later(ms, then) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(then, ms);
  }

  #drop() {
    this.pc?.close();
    this.pc = null;
    if (this.#session) {
      const headers = { Authorization: `Bearer ${this.token}` };
      // keepalive lets it out of a page that is closing.
      fetch(this.#session, { method: "DELETE", headers, keepalive: true }).catch(() => {});
    }
    this.#session = "";
  }

  async #make() {
    const attempt = ++this.#attempt;
    this.#drop();
    const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    this.pc = pc;
    pc.addEventListener("connectionstatechange", () => {
      if (pc === this.pc) this.#watch(pc);
    });
    try {
      await this.prepare(pc);
      if (attempt !== this.#attempt) return;
      const offer = await pc.createOffer();
      const sdp = await this.#setOffer(pc, offer.sdp ?? "");
      const reply = await request(this.endpoint, {
        method: "POST",
        headers: { "Content-Type": "application/sdp", Authorization: `Bearer ${this.token}` },
        body: sdp,
      });
      const answer = await reply.text();
      const session = new URL(reply.headers.get("Location") ?? "", location.href).href;
      if (attempt !== this.#attempt) {
        // Stopped meanwhile: the server must not keep a session that nobody holds.
        this.#session = session;
        this.#drop();
        return;
      }
      this.#session = session;
      this.#answer = answer;
      const iceServers = iceServersOf(reply.headers.get("Link"));
      if (iceServers.length) pc.setConfiguration({ ...pc.getConfiguration(), iceServers });
      await pc.setRemoteDescription({ type: "answer", sdp: answer });
      this.#later(CONNECT_WITHIN_MS, () => this.#again());
    } catch (error) {
      if (attempt !== this.#attempt) return;
      const failure =
        error instanceof ApiError ? error : new ApiError("media", String(error));
      const hopeless = HOPELESS.has(failure.code);
      this.onError(failure, hopeless);
      if (hopeless) this.stop();
      else this.#again(failure.retryAfter * 1000);
    }
  }

  /**
   * Set the offer as wanted, or as the browser made it where it refuses the change.
   * @param {RTCPeerConnection} pc
   * @param {string} sdp
   */
  async #setOffer(pc, sdp) {
    const wanted = this.munge(sdp);
    try {
      await pc.setLocalDescription({ type: "offer", sdp: wanted });
      return wanted;
    } catch (error) {
      if (wanted === sdp) throw error;
      await pc.setLocalDescription({ type: "offer", sdp });
      return sdp;
    }
  }

  /** @param {RTCPeerConnection} pc */
  #watch(pc) {
    switch (pc.connectionState) {
      case "connected":
        this.#failures = 0;
        clearTimeout(this.#timer);
        this.#to("connected");
        break;
      case "disconnected":
        // Often over in a moment.
        this.#to("mending");
        this.#later(GRACE_MS, () => void this.#restart());
        break;
      case "failed":
        this.#to("mending");
        void this.#restart();
        break;
      default:
    }
  }

  /** @param {number} [least] Milliseconds that the server asks to wait. */
  #again(least = 0) {
    if (this.state === "stopped") return;
    this.#failures += 1;
    if (this.state === "connected") this.#to("mending");
    this.#later(Math.max(least, backoff(this.#failures)), () => void this.#make());
  }

  /** ICE restart; keys, tracks and the session stay. */
  async #restart() {
    const attempt = this.#attempt;
    const pc = this.pc;
    if (!pc || !this.#session || this.state === "stopped") return;
    this.#later(MEND_WITHIN_MS, () => this.#again());
    try {
      const offer = await pc.createOffer({ iceRestart: true });
      const sdp = await this.#setOffer(pc, offer.sdp ?? "");
      const reply = await request(this.#session, {
        method: "PATCH",
        headers: {
          "Content-Type": "application/trickle-ice-sdpfrag",
          "If-Match": "*",
          Authorization: `Bearer ${this.token}`,
        },
        body: fragmentOf(sdp),
      });
      const fragment = await reply.text();
      if (attempt !== this.#attempt) return;
      this.#answer = withCredentials(this.#answer, fragment);
      await pc.setRemoteDescription({ type: "answer", sdp: this.#answer });
    } catch (error) {
      if (attempt !== this.#attempt) return;
      if (error instanceof ApiError && error.code === "conflict") {
        // Another window has taken over; both would take it from one another for ever.
        this.onError(error, true);
        this.stop();
        return;
      }
      // Without a network there is nothing to be had; with one, this session is over.
      if (error instanceof ApiError && error.code === "network") {
        this.#later(GRACE_MS, () => void this.#restart());
      } else {
        this.#again();
      }
    }
  }
}

/**
 * The ICE credentials of an offer, as a trickle ICE fragment (RFC 8840).
 * @param {string} sdp
 */
export function fragmentOf(sdp) {
  const pick = (/** @type {RegExp} */ pattern) => pattern.exec(sdp)?.[0].trim();
  const media = /^m=.*$/m.exec(sdp)?.[0].trim() ?? "m=audio 9 UDP/TLS/RTP/SAVPF 0";
  return [
    "a=ice-options:trickle ice2",
    pick(/^a=group:BUNDLE.*$/m),
    pick(/^a=ice-ufrag:.*$/m),
    pick(/^a=ice-pwd:.*$/m),
    media,
    pick(/^a=mid:.*$/m),
    "a=end-of-candidates",
  ]
    .filter(Boolean)
    .map((line) => `${line}\r\n`)
    .join("");
}

/**
 * An answer with the ICE credentials and candidates of a fragment.
 * @param {string} answer
 * @param {string} fragment
 */
export function withCredentials(answer, fragment) {
  const ufrag = /^a=ice-ufrag:.*$/m.exec(fragment)?.[0].trim();
  const password = /^a=ice-pwd:.*$/m.exec(fragment)?.[0].trim();
  if (!ufrag || !password) return answer;
  return answer
    .replace(/^a=ice-ufrag:.*$/gm, ufrag)
    .replace(/^a=ice-pwd:.*$/gm, password);
}

/**
 * STUN and TURN servers from Link headers (RFC 9725, section 4.6).
 * @param {string | null} header
 * @returns {RTCIceServer[]}
 */
export function iceServersOf(header) {
  /** @type {RTCIceServer[]} */
  const servers = [];
  for (const link of header?.split(/,\s*(?=<)/) ?? []) {
    const url = /^<([^>]+)>/.exec(link)?.[1];
    if (!url || !/rel="?ice-server"?/.test(link)) continue;
    const value = (/** @type {string} */ name) =>
      new RegExp(`${name}="([^"]*)"`).exec(link)?.[1];
    const username = value("username");
    const credential = value("credential");
    servers.push({
      urls: url,
      ...(username === undefined ? {} : { username }),
      ...(credential === undefined ? {} : { credential }),
    });
  }
  return servers;
}
