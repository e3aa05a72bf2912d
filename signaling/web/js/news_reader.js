// News in the sound: out of the padding of Opus packets, and messages put together. Pure.
// The format is in docs/in-band.md; media/bulletin_reader.py is the same for the server's tests.

const EXTENSION_ID = 122;
const LABEL = [0x4e, 1];
const PART = 1;
const DIGEST = 2;
const KEPT = 1;
const PART_BYTES = 15;
const MAX_MESSAGE_BYTES = 16 * 1024;
const MAX_OPEN = 64;
const MAX_REMEMBERED = 512;

/**
 * @typedef {object} Told One whole message.
 * @property {number} id
 * @property {number} revision
 * @property {boolean} kept
 * @property {number} rtpTime On the clock of the stream that brought it.
 * @property {string} text
 */

/** @param {Uint8Array} data @param {number} at */
const byte = (data, at) => data[at] ?? 0;

/** @typedef {{ id: number, frame: number, data: Uint8Array }} Extension */
/** @typedef {{ frames: number, body: Uint8Array, padding: Uint8Array }} Parts */

/**
 * An Opus packet of code 3 (RFC 6716, section 3.2.5); null for others, and for broken ones.
 * @param {Uint8Array} packet
 * @returns {Parts | null}
 */
export function parts(packet) {
  if (packet.length < 2 || (byte(packet, 0) & 3) !== 3) return null;
  let position = 2;
  let size = 0;
  if (byte(packet, 1) & 0x40) {
    let more;
    do {
      if (position >= packet.length) return null;
      more = byte(packet, position);
      position += 1;
      size += more === 255 ? 254 : more;
    } while (more === 255);
  }
  const end = packet.length - size;
  if (end < position) return null;
  return {
    frames: byte(packet, 1) & 0x3f,
    body: packet.subarray(position, end),
    padding: packet.subarray(end),
  };
}

/**
 * A packet that carries no sound, without its padding; null for all others. A player knows a
 * pause by such packets being short.
 * @param {Uint8Array} packet
 * @returns {Uint8Array | null}
 */
export function silence(packet) {
  const found = parts(packet);
  if (!found || found.frames !== 1 || found.body.length > 1 || !found.padding.length) return null;
  return Uint8Array.of(byte(packet, 0) & 0xfc, ...found.body);
}

/**
 * The extensions in padding (draft-ietf-mlcodec-opus-extension), repeated ones told out; null
 * where the bytes are no list of extensions.
 * @param {Uint8Array} padding
 * @param {number} frames
 * @returns {Extension[] | null}
 */
export function extensions(padding, frames) {
  /** @type {Extension[]} */
  const out = [];
  /** @type {{ id: number, flag: number }[]} */
  let since = [];
  let position = 0;
  let frame = 0;

  /** @param {number} id @param {number} flag @param {number} trailing @param {number} at */
  const take = (id, flag, trailing, at) => {
    let size = flag;
    if (id >= 32 && flag) {
      size = 0;
      let more;
      do {
        if (position >= padding.length) return false;
        more = byte(padding, position);
        position += 1;
        size += more;
      } while (more === 255);
    } else if (id >= 32) {
      size = padding.length - position - trailing;
    }
    if (size < 0 || position + size > padding.length) return false;
    out.push({ id, frame: at, data: padding.subarray(position, position + size) });
    position += size;
    return true;
  };

  while (position < padding.length && frame < frames) {
    const id = byte(padding, position) >> 1;
    const flag = byte(padding, position) & 1;
    position += 1;
    if (id === 0) {
      if (!flag) break;
    } else if (id === 1) {
      let step = 1;
      if (flag) {
        if (position >= padding.length) return null;
        step = byte(padding, position);
        position += 1;
        if (step === 0) continue;
      }
      frame += step;
      if (frame >= frames) return null;
      since = [];
    } else if (id === 2) {
      const lastLong = since.findLastIndex((one) => one.id >= 32);
      const trailing =
        lastLong < 0 ? 0 : since.slice(lastLong + 1).reduce((sum, one) => sum + one.flag, 0);
      for (let later = frame + 1; later < frames; later += 1) {
        for (const [at, one] of since.entries()) {
          const last = !flag && later === frames - 1 && at === lastLong;
          if (!take(one.id, last ? 0 : one.flag, last ? trailing : 0, later)) return null;
        }
      }
      since = [];
      if (!flag) frame += 1;
    } else {
      if (!take(id, flag, 0, frame)) return null;
      since.push({ id, flag });
    }
  }
  return out;
}

/** @template K, V @param {Map<K, V>} map @param {number} limit */
function bound(map, limit) {
  if (map.size > limit) map.delete(/** @type {K} */ (map.keys().next().value));
}

/** One listener's reading of the news. */
export class NewsReader {
  /** @type {string | null} */
  language = null;
  malformed = 0;
  /** Id of the newest kept message heard of. */
  latest = 0;
  #edition = -1;
  /** @type {Map<string, { data: Uint8Array, have: Uint8Array, missing: number }>} */
  #open = new Map();
  /** @type {Map<string, true>} */
  #done = new Map();
  /** @type {Map<number, number>} */
  #newest = new Map();
  /** @type {Set<number>} */
  #seen = new Set();
  #heard = false;
  /** @type {number | null} */
  #base = null;

  /** Whether kept messages are known of and not here; so it is from the first digest on. */
  get missing() {
    return this.#heard && (this.#base === null || this.latest > this.#base);
  }

  /**
   * Everything up to this id was had by another way.
   * @param {number} latest
   */
  caughtUp(latest) {
    this.#base = Math.max(latest, this.#base ?? 0);
    this.#advance();
  }

  /**
   * The messages that an Opus packet completes.
   * @param {Uint8Array} packet
   * @returns {Told[]}
   */
  packet(packet) {
    const found = parts(packet);
    if (!found?.padding.length) return [];
    /** @type {Told[]} */
    const out = [];
    for (const { id, data } of extensions(found.padding, found.frames) ?? []) {
      if (id === EXTENSION_ID && byte(data, 0) === LABEL[0] && byte(data, 1) === LABEL[1]) {
        out.push(...this.take(data));
      }
    }
    return out;
  }

  /**
   * The messages that the news of one packet complete.
   * @param {Uint8Array} news
   * @returns {Told[]}
   */
  take(news) {
    /** @type {Told[]} */
    const out = [];
    if (news.length < 5 || news.length < 5 + byte(news, 4)) {
      this.malformed += 1;
      return out;
    }
    const view = new DataView(news.buffer, news.byteOffset, news.byteLength);
    const edition = view.getUint16(2);
    let position = 5 + byte(news, 4);
    const language = String.fromCharCode(...news.subarray(5, position));
    if (edition !== this.#edition || language !== this.language) this.#begin(edition, language);
    while (position < news.length) {
      const size = position + 3 > news.length ? Infinity : view.getUint16(position + 1);
      if (position + 3 + size > news.length) {
        this.malformed += 1;
        break;
      }
      const kind = byte(news, position);
      if (kind === DIGEST && size >= 4) {
        this.latest = Math.max(this.latest, view.getUint32(position + 3));
        this.#heard = true;
      } else if (kind === PART && size >= PART_BYTES) {
        const at = news.byteOffset + position + 3;
        const told = this.#part(new DataView(news.buffer, at, size));
        if (told) out.push(told);
      }
      position += 3 + size;
    }
    return out;
  }

  /** @param {number} edition @param {string} language */
  #begin(edition, language) {
    this.#edition = edition;
    this.language = language;
    this.latest = 0;
    this.#open.clear();
    this.#done.clear();
    this.#newest.clear();
    this.#seen.clear();
    this.#heard = false;
    this.#base = null;
  }

  /**
   * @param {DataView} record
   * @returns {Told | null}
   */
  #part(record) {
    const kept = (record.getUint8(0) & KEPT) !== 0;
    const id = record.getUint32(1);
    const revision = record.getUint16(5);
    const total = record.getUint16(11);
    const offset = record.getUint16(13);
    const size = record.byteLength - PART_BYTES;
    const key = `${kept} ${id} ${revision}`;
    if (offset + size > total || total < 1 || total > MAX_MESSAGE_BYTES) {
      this.malformed += 1;
      return null;
    }
    if (this.#done.has(key)) return null;
    const known = this.#newest.get(id);
    if (!kept && known !== undefined) {
      const ahead = (revision - known) & 0xffff;
      if (ahead === 0 || ahead >= 0x8000) return null;
    }
    let one = this.#open.get(key);
    if (!one || one.data.length !== total) {
      one = { data: new Uint8Array(total), have: new Uint8Array(total), missing: total };
      this.#open.set(key, one);
      bound(this.#open, MAX_OPEN);
    }
    const data = new Uint8Array(record.buffer, record.byteOffset + PART_BYTES, size);
    for (let i = offset; i < offset + size; i += 1) if (!one.have[i]) one.missing -= 1;
    one.data.set(data, offset);
    one.have.fill(1, offset, offset + size);
    if (one.missing) return null;
    this.#open.delete(key);
    this.#done.set(key, true);
    bound(this.#done, MAX_REMEMBERED);
    if (kept) {
      this.#seen.add(id);
      this.latest = Math.max(this.latest, id);
      this.#advance();
    } else {
      this.#newest.delete(id);
      this.#newest.set(id, revision);
      bound(this.#newest, MAX_REMEMBERED);
    }
    const text = new TextDecoder().decode(one.data);
    return { id, revision, kept, rtpTime: record.getUint32(7), text };
  }

  #advance() {
    if (this.#base === null) return;
    while (this.#seen.has(this.#base + 1)) this.#base += 1;
    for (const id of this.#seen) if (id <= this.#base) this.#seen.delete(id);
  }
}
