// Hearing the room: three tracks for ever, however many people take turns (WHEP).

import { Peer } from "./peer.js";

/** @typedef {import("./peer.js").PeerState} PeerState */
/** @typedef {import("./api.js").ApiError} ApiError */
/** @typedef {import("./news.js").NewsFeed} NewsFeed */

/** Slots of the server: how many people are heard at a time. */
const SLOTS = 3;

/**
 * Ask for retransmission of lost Opus packets, which browsers offer for video alone.
 * @param {string} sdp
 */
export function withNack(sdp) {
  const payloads = [...sdp.matchAll(/^a=rtpmap:(\d+) opus\/48000\/2\r?$/gim)].map((m) => m[1]);
  let out = sdp;
  for (const payload of new Set(payloads)) {
    if (new RegExp(`^a=rtcp-fb:${payload} nack\\r?$`, "m").test(out)) continue;
    out = out.replace(
      new RegExp(`^(a=rtpmap:${payload} opus/48000/2)(\\r?\\n)`, "gim"),
      `$1$2a=rtcp-fb:${payload} nack$2`,
    );
  }
  return out;
}

export class Listening {
  /** @type {HTMLAudioElement[]} */
  #players = [];
  #muted = false;

  /**
   * @param {object} options
   * @param {string} options.room
   * @param {string} options.token
   * @param {HTMLElement} options.holder Where the audio elements go.
   * @param {(state: PeerState) => void} options.onState
   * @param {(error: ApiError, hopeless: boolean) => void} options.onError
   * @param {(blocked: boolean) => void} options.onBlocked The browser wants a touch first.
   * @param {NewsFeed | null} [options.news] Who reads the news in the sound.
   */
  constructor({ room, token, holder, onState, onError, onBlocked, news = null }) {
    this.holder = holder;
    this.news = news;
    this.path = `/rooms/${encodeURIComponent(room)}/whep`;
    this.onBlocked = onBlocked;
    for (let i = 0; i < SLOTS; i += 1) {
      const player = document.createElement("audio");
      player.autoplay = true;
      holder.append(player);
      this.#players.push(player);
    }
    this.peer = new Peer({
      endpoint: this.#endpoint(),
      token,
      prepare: (pc) => this.#prepare(pc),
      munge: withNack,
      onState,
      onError,
    });
  }

  /** Play; to be called from a click where the browser holds the sound back. */
  play() {
    this.onBlocked(false);
    for (const player of this.#players) {
      // A refusal comes at once; success may wait for the first sound.
      player.play().catch((error) => {
        if (error.name === "NotAllowedError") this.onBlocked(true);
      });
    }
  }

  /** The news are wanted in another language from the next connection on. */
  reread() {
    this.peer.endpoint = this.#endpoint();
  }

  #endpoint() {
    const { news } = this;
    return news ? `${this.path}?news=${encodeURIComponent(news.captions ?? "")}` : this.path;
  }

  get muted() {
    return this.#muted;
  }

  set muted(muted) {
    this.#muted = muted;
    for (const player of this.#players) player.muted = muted;
  }

  stop() {
    this.peer.stop();
    for (const player of this.#players) {
      player.srcObject = null;
      player.remove();
    }
    this.#players = [];
  }

  /** @param {RTCPeerConnection} pc */
  async #prepare(pc) {
    // With a transform whose worker does not run nothing would be heard.
    const news = (await this.news?.ready) ? this.news : null;
    if (pc.signalingState === "closed") return;
    this.#players.forEach((player) => {
      const { receiver } = pc.addTransceiver("audio", { direction: "recvonly" });
      // Set any later, Chromium gives it nothing.
      news?.attach(receiver);
      player.srcObject = new MediaStream([receiver.track]);
      player.muted = this.#muted;
    });
    this.play();
  }
}
