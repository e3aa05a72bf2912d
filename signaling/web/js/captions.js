// What is known of the captions: revisions merged, in the order of speech. Pure.

/** @typedef {import("./protocol.js").Caption} Caption */

/**
 * A caption, and the languages whose translation is still that of an older text: it stays until
 * its own arrives, so that the line does not flicker.
 * @typedef {Caption & { stale?: readonly string[] }} Line
 */

/** A partial line that is not heard of for so long was dropped by the worker, in milliseconds. */
export const STALE_PARTIAL_MS = 20_000;

export class CaptionLog {
  /** Oldest first by start. @type {Line[]} */
  #lines = [];
  /** @type {Map<string, Line>} */
  #known = new Map();
  /** When a partial was last touched, local milliseconds. @type {Map<string, number>} */
  #touched = new Map();

  /** @param {number} [limit] How many lines are kept. */
  constructor(limit = 1000) {
    this.limit = limit;
  }

  get lines() {
    return /** @type {readonly Line[]} */ (this.#lines);
  }

  /**
   * Take in one message. Returns the line as it is known now, or null where the message says
   * nothing new. A final text never changes again; translations may still come.
   * @param {Caption} caption
   * @param {number} now Local milliseconds.
   * @returns {Line | null}
   */
  take(caption, now) {
    const known = this.#known.get(caption.utterance);
    const merged = known ? merge(known, caption) : caption;
    if (merged === known) return null;
    this.#known.set(caption.utterance, merged);
    if (merged.final) this.#touched.delete(merged.utterance);
    else this.#touched.set(merged.utterance, now);
    if (known) this.#lines[this.#lines.indexOf(known)] = merged;
    else this.#lines.splice(this.#place(merged), 0, merged);
    return merged;
  }

  /**
   * Forget the translations and take the history in another language.
   * @param {readonly Caption[]} history
   * @param {number} now
   */
  retranslate(history, now) {
    for (const line of this.#lines) {
      const bare = { ...line, translations: {}, untranslated: {}, stale: [] };
      this.#known.set(line.utterance, bare);
    }
    this.#lines = this.#lines.map((line) => this.#known.get(line.utterance) ?? line);
    for (const caption of history) this.take(caption, now);
  }

  clear() {
    this.#lines = [];
    this.#known.clear();
    this.#touched.clear();
  }

  /**
   * Drop the oldest lines over the limit.
   * @returns {string[]} The utterances that are gone.
   */
  trim() {
    const gone = this.#lines.splice(0, Math.max(0, this.#lines.length - this.limit));
    return gone.map((line) => this.#forget(line));
  }

  /**
   * Drop partial lines that nothing was heard of for a while.
   * @param {number} now
   * @returns {string[]} The utterances that are gone.
   */
  expire(now) {
    const gone = this.#lines.filter((line) => {
      const touched = this.#touched.get(line.utterance);
      return touched !== undefined && now - touched > STALE_PARTIAL_MS;
    });
    if (gone.length) this.#lines = this.#lines.filter((line) => !gone.includes(line));
    return gone.map((line) => this.#forget(line));
  }

  /** @param {Caption} line */
  #forget(line) {
    this.#known.delete(line.utterance);
    this.#touched.delete(line.utterance);
    return line.utterance;
  }

  /** @param {Caption} caption */
  #place(caption) {
    let at = this.#lines.length;
    while (at > 0 && (this.#lines[at - 1]?.start_ms ?? 0) > caption.start_ms) at -= 1;
    return at;
  }
}

/**
 * @param {Line} known
 * @param {Caption} next
 * @returns {Line} `known` itself where `next` adds nothing.
 */
function merge(known, next) {
  if (known.final && !next.final) return known;
  const newer = next.revision > known.revision || (next.final && !known.final);
  if (!newer && next.revision < known.revision && !next.final) return known;
  const base = newer ? next : known;
  const retold = newer && !known.final && next.text !== known.text;
  const old = retold ? Object.keys(known.translations) : (known.stale ?? []);
  const stale = old.filter((language) => !(language in next.translations));
  const translations = { ...known.translations, ...next.translations };
  const untranslated = { ...known.untranslated, ...next.untranslated };
  for (const language of Object.keys(next.translations)) delete untranslated[language];
  const merged = {
    ...base,
    text: known.final ? known.text : base.text,
    revision: Math.max(known.revision, next.revision),
    translations,
    untranslated,
    stale,
  };
  return same(known, merged) ? known : merged;
}

/**
 * @param {Line} a
 * @param {Line} b
 */
function same(a, b) {
  return (
    a.revision === b.revision &&
    a.final === b.final &&
    a.text === b.text &&
    JSON.stringify(a.translations) === JSON.stringify(b.translations) &&
    JSON.stringify(a.untranslated) === JSON.stringify(b.untranslated) &&
    (a.stale ?? []).join() === (b.stale ?? []).join()
  );
}

/** @typedef {"both" | "translation" | "original"} Show */

/**
 * What a reader sees of a line.
 * @param {Line} line
 * @param {string | null} language What they read; null for the originals alone.
 * @param {Show} show
 * @returns {{ original: string | null, translation: string | null, missing: string | null,
 *   settled: boolean }} `missing` is the error code that says why there is no translation;
 *   `settled`: nothing of this will change.
 */
export function visible(line, language, show) {
  const foreign = language !== null && base(language) !== base(line.language);
  const translation = foreign ? (line.translations[language] ?? null) : null;
  const missing = foreign && !translation ? (line.untranslated[language] ?? null) : null;
  if (show === "original" || !foreign) {
    return { original: line.text, translation: null, missing: null, settled: line.final };
  }
  const waiting = !missing && (!translation || (line.stale ?? []).includes(language));
  const settled = line.final && !waiting;
  const original = show === "translation" && translation ? null : line.text;
  return { original, translation, missing, settled };
}

/** @param {string} language */
function base(language) {
  return language.split("-")[0];
}
