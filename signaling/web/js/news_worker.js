// Reads the news in the sound and hands every frame on. Runs in a worker, as the transform of the
// receivers that play the room.

import { NewsReader, silence } from "./news_reader.js";

/**
 * @typedef {object} FromWorker
 * @property {"ready" | "news"} type
 * @property {string | null} [language] What the news are in, "" for originals.
 * @property {number} [latest] Id of the newest kept message heard of.
 * @property {boolean} [missing] Whether kept messages are not here (yet).
 * @property {import("./news_reader.js").Told[]} [told]
 */

const TELL_EVERY_MS = 500;

const reader = new NewsReader();
let toldAt = 0;
let wasMissing = false;

/** @param {FromWorker} message */
const post = (message) => self.postMessage(message);

/** @param {{ data: ArrayBuffer }} frame An RTCEncodedAudioFrame. */
function read(frame) {
  const packet = new Uint8Array(frame.data);
  if (((packet[0] ?? 0) & 3) !== 3) return;
  const told = reader.packet(packet);
  const now = performance.now();
  const { language, latest, missing } = reader;
  if (language !== null && (told.length || missing !== wasMissing || now - toldAt > TELL_EVERY_MS)) {
    toldAt = now;
    wasMissing = missing;
    post({ type: "news", language, latest, missing, told });
  }
  // A pause is known by its packets being short, so these go on without what they carried.
  const short = silence(packet);
  if (short) frame.data = /** @type {ArrayBuffer} */ (short.buffer);
}

self.addEventListener("rtctransform", (event) => {
  const { readable, writable } = /** @type {any} */ (event).transformer;
  const through = new TransformStream({
    transform(frame, controller) {
      try {
        read(frame);
      } catch {
        // Sound goes first.
      }
      controller.enqueue(frame);
    },
  });
  readable.pipeThrough(through).pipeTo(writable).catch(() => {});
});

self.addEventListener("message", ({ data }) => reader.caughtUp(data.caughtUp));

post({ type: "ready" });
