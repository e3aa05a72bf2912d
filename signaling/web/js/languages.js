// Names of spoken languages, and what can be translated now.

import { uiLanguage } from "./i18n.js";

/** @typedef {import("./protocol.js").CaptionsStatus} CaptionsStatus */

/** Languages to choose from, besides those that a room or the server names. */
export const COMMON = [
  "en", "zh", "es", "pt", "fr", "de", "it", "nl", "pl", "ru", "uk", "tr", "ar", "fa", "he",
  "hi", "bn", "ur", "id", "ms", "vi", "th", "ja", "ko", "el", "cs", "sk", "hu", "ro", "bg",
  "sr", "hr", "sl", "sv", "nb", "da", "fi", "et", "lv", "lt", "ca", "gl", "sw", "ta", "te",
];

/**
 * @param {string} shown
 * @param {string} language
 */
function displayName(shown, language) {
  try {
    return new Intl.DisplayNames([shown], { type: "language" }).of(language) ?? language;
  } catch {
    return language;
  }
}

/**
 * A language by its own name: "português" as "Português".
 * @param {string} language
 */
export function endonym(language) {
  const name = displayName(language, language);
  return name.charAt(0).toLocaleUpperCase(language) + name.slice(1);
}

/**
 * A language by its name in the language of the page.
 * @param {string} language
 */
export function nameOf(language) {
  const name = displayName(uiLanguage(), language);
  return name.charAt(0).toLocaleUpperCase(uiLanguage()) + name.slice(1);
}

/**
 * Both names, for choices: "Português — Portuguese".
 * @param {string} language
 */
export function label(language) {
  const own = endonym(language);
  const here = nameOf(language);
  return own.toLowerCase() === here.toLowerCase() ? own : `${own} — ${here}`;
}

/** The browser's first language, as a bare code. */
export function browserLanguage() {
  return (navigator.languages[0] ?? "en").toLowerCase().split("-")[0] ?? "en";
}

/**
 * Sort by own name, as a reader of the page's language expects.
 * @param {Iterable<string>} languages
 */
export function sorted(languages) {
  const order = new Intl.Collator(uiLanguage());
  return [...languages].sort((a, b) => order.compare(endonym(a), endonym(b)));
}

/**
 * Languages into which something can be translated now.
 * @param {CaptionsStatus | null} status
 * @returns {Set<string>}
 */
export function targets(status) {
  const found = new Set();
  for (const pair of status?.pairs ?? []) {
    const target = pair.slice(pair.indexOf("-") + 1);
    if (target) found.add(target);
  }
  return found;
}

/**
 * Whether somebody who reads `language` gets a translation of at least one of the room's
 * languages, or needs none.
 * @param {string} language
 * @param {readonly string[]} spoken
 * @param {CaptionsStatus | null} status
 */
export function readable(language, spoken, status) {
  const pairs = new Set(status?.pairs ?? []);
  return spoken.some((from) => from === language || pairs.has(`${from}-${language}`));
}
