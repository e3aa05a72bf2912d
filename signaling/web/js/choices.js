// Selects of languages, filled for the language of the page and what the server can do now.

import { make } from "./dom.js";
import { t } from "./i18n.js";
import { COMMON, browserLanguage, label, readable, sorted, targets } from "./languages.js";

/** @typedef {import("./protocol.js").CaptionsStatus} CaptionsStatus */

/**
 * @param {HTMLElement} parent
 * @param {readonly string[]} languages
 * @param {(language: string) => string} [name]
 */
function addOptions(parent, languages, name = label) {
  for (const language of languages) {
    parent.append(make("option", { text: name(language), attributes: { value: language } }));
  }
}

/**
 * @param {HTMLSelectElement} select
 * @param {string} text
 * @param {readonly string[]} languages
 * @param {(language: string) => string} name
 */
function addGroup(select, text, languages, name) {
  if (!languages.length) return;
  const group = make("optgroup", { attributes: { label: text } });
  addOptions(group, languages, name);
  select.append(group);
}

/**
 * Caption languages: the originals, what is spoken, what can be had, and the rest.
 * @param {HTMLSelectElement} select
 * @param {readonly string[]} spoken
 * @param {CaptionsStatus | null} status
 * @param {string | null} chosen
 * @param {(language: string) => string} [name] How a language is called; both names if left out.
 */
export function fillCaptions(select, spoken, status, chosen, name = label) {
  const ready = [...targets(status)].filter((language) => !spoken.includes(language));
  const rest = COMMON.filter(
    (language) => !spoken.includes(language) && !ready.includes(language),
  );
  if (chosen && ![...spoken, ...ready, ...rest].includes(chosen)) rest.push(chosen);
  select.replaceChildren(
    make("option", { text: t("captions.original_only"), attributes: { value: "" } }),
  );
  addGroup(select, t("captions.group_room"), spoken, name);
  addGroup(select, t("captions.group_ready"), sorted(ready), name);
  addGroup(select, t("captions.group_other"), sorted(rest), name);
  select.value = chosen ?? "";
}

/**
 * Languages that somebody speaks: the room's first, then all.
 * @param {HTMLSelectElement} select
 * @param {readonly string[]} first
 * @param {string | null} chosen
 */
export function fillSpoken(select, first, chosen) {
  const rest = sorted(COMMON.filter((language) => !first.includes(language)));
  if (chosen && !first.includes(chosen) && !rest.includes(chosen)) rest.push(chosen);
  select.replaceChildren();
  addOptions(select, [...first, ...rest]);
  const own = browserLanguage();
  select.value = chosen ?? (first.includes(own) ? own : (first[0] ?? "en"));
}

/**
 * What the reader should know of their choice, or nothing.
 * @param {string | null} chosen
 * @param {readonly string[]} spoken
 * @param {CaptionsStatus | null} status
 */
export function captionsNote(chosen, spoken, status) {
  if (chosen === null) return t("captions.note_original");
  if (!status || status.state === "fetching" || status.state === "loading") return "";
  if (readable(chosen, spoken, status)) return "";
  return t("captions.note_none", { language: label(chosen) });
}
