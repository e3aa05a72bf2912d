// Being heard: the microphone, its level, and its way to the server (WHIP).

import { Peer } from "./peer.js";

/** @typedef {import("./peer.js").PeerState} PeerState */
/** @typedef {import("./api.js").ApiError} ApiError */
/** @typedef {"refused" | "missing" | "busy" | "insecure" | "failed"} MicProblem */

/** Why the microphone cannot be had. */
export class MicError extends Error {
  /**
   * @param {MicProblem} problem
   * @param {string} detail
   */
  constructor(problem, detail) {
    super(detail);
    this.problem = problem;
  }
}

/**
 * @param {unknown} error From getUserMedia.
 * @returns {MicError}
 */
export function micErrorOf(error) {
  const name = error instanceof Error || error instanceof DOMException ? error.name : "";
  /** @type {Record<string, MicProblem>} */
  const problems = {
    NotAllowedError: "refused",
    SecurityError: "refused",
    NotFoundError: "missing",
    OverconstrainedError: "missing",
    NotReadableError: "busy",
    AbortError: "busy",
  };
  return new MicError(problems[name] ?? "failed", String(error));
}

/** @returns {Promise<MediaStream>} Raises MicError. */
async function microphone() {
  if (!navigator.mediaDevices?.getUserMedia) throw new MicError("insecure", "");
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: {
        echoCancellation: true,
        noiseSuppression: true,
        autoGainControl: true,
        channelCount: 1,
      },
    });
  } catch (error) {
    throw micErrorOf(error);
  }
}

/**
 * Ask for in-band error correction, and for silence not to be sent.
 * @param {string} sdp
 */
export function withOpusOptions(sdp) {
  const payload = /^a=rtpmap:(\d+) opus\/48000\/2\r?$/im.exec(sdp)?.[1];
  if (!payload) return sdp;
  return sdp.replace(
    new RegExp(`^(a=fmtp:${payload} )(?!.*usedtx)(.*?)(\\r?)$`, "gm"),
    "$1$2;usedtx=1$3",
  );
}

export class Publishing {
  /** @type {AudioContext | null} */
  #context = null;
  #frame = 0;
  /** @type {Peer} */
  peer;

  /**
   * Ask for the microphone and send it. Raises MicError.
   * @param {object} options
   * @param {string} options.room
   * @param {string} options.token
   * @param {boolean} options.muted
   * @param {(level: number) => void} options.onLevel 0 to 1, with every frame of the screen.
   * @param {(state: PeerState) => void} options.onState
   * @param {(error: ApiError, hopeless: boolean) => void} options.onError
   * @param {() => void} options.onEnded The device went away.
   */
  static async start(options) {
    return new Publishing(await microphone(), options);
  }

  /**
   * @param {MediaStream} stream
   * @param {Parameters<typeof Publishing.start>[0]} options
   */
  constructor(stream, { room, token, muted, onLevel, onState, onError, onEnded }) {
    this.stream = stream;
    const [track] = stream.getAudioTracks();
    if (!track) throw new MicError("missing", "");
    this.track = track;
    this.track.addEventListener("ended", onEnded);
    this.muted = muted;
    this.#measure(onLevel);
    this.peer = new Peer({
      endpoint: `/rooms/${encodeURIComponent(room)}/whip`,
      token,
      prepare: (pc) => {
        pc.addTransceiver(this.track, { direction: "sendonly", streams: [stream] });
      },
      munge: withOpusOptions,
      onState,
      onError,
    });
  }

  get muted() {
    return !this.track.enabled;
  }

  set muted(muted) {
    this.track.enabled = !muted;
  }

  stop() {
    cancelAnimationFrame(this.#frame);
    this.peer.stop();
    this.track.stop();
    void this.#context?.close();
    this.#context = null;
  }

  /** @param {(level: number) => void} onLevel */
  #measure(onLevel) {
    const context = new AudioContext();
    this.#context = context;
    const analyser = context.createAnalyser();
    analyser.fftSize = 1024;
    context.createMediaStreamSource(this.stream).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    let shown = 0;
    const look = () => {
      analyser.getFloatTimeDomainData(samples);
      let sum = 0;
      for (const sample of samples) sum += sample * sample;
      const db = 10 * Math.log10(sum / samples.length + 1e-9);
      // -60 dB is silence, -12 dB is loud speech; quick up, slow down.
      const level = Math.min(1, Math.max(0, (db + 60) / 48));
      shown = Math.max(level, shown * 0.9);
      onLevel(shown);
      this.#frame = requestAnimationFrame(look);
    };
    look();
  }
}
