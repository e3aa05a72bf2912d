// Texts of the page, from message files, in a language that the reader can change.

/** Languages that the page itself speaks, by their own names. */
export const UI_LANGUAGES = /** @type {const} */ ({ en: "English", "zh-Hans": "简体中文" });

/** @typedef {keyof typeof UI_LANGUAGES} UiLanguage */

const REMEMBERED = "ui-language";

/** @type {Record<string, string>} */
let messages = {};
/** @type {UiLanguage} */
let current = "en";
/** @type {Set<() => void>} */
const listeners = new Set();

/**
 * The language to start with: the remembered one, or the first of the browser's that is there.
 * @param {string | null} remembered
 * @param {readonly string[]} wanted
 * @returns {UiLanguage}
 */
export function choose(remembered, wanted) {
  if (remembered && remembered in UI_LANGUAGES) return /** @type {UiLanguage} */ (remembered);
  for (const tag of wanted) {
    const base = tag.toLowerCase().split("-")[0];
    if (base === "zh") return "zh-Hans";
    if (base === "en") return "en";
  }
  return "en";
}

/** @returns {UiLanguage} */
export function uiLanguage() {
  return current;
}

/**
 * One text. Names in braces are replaced; with `n`, the key's plural form is taken if it has any.
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 * @returns {string}
 */
export function t(key, values = {}) {
  let text = messages[key];
  if (text === undefined && typeof values["n"] === "number") {
    const form = new Intl.PluralRules(current).select(values["n"]);
    text = messages[`${key}.${form}`] ?? messages[`${key}.other`];
  }
  if (text === undefined) return key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => {
    const value = values[name];
    return typeof value === "number" ? value.toLocaleString(current) : (value ?? whole);
  });
}

/** @param {string} key */
export function has(key) {
  return key in messages;
}

/**
 * Put the texts into a part of the page: `data-i18n` for the text, `data-i18n-attr` for
 * attributes, as "aria-label:key;title:key".
 * @param {ParentNode} root
 */
export function apply(root) {
  for (const element of root.querySelectorAll("[data-i18n]")) {
    element.textContent = t(element.getAttribute("data-i18n") ?? "");
  }
  for (const element of root.querySelectorAll("[data-i18n-attr]")) {
    for (const pair of (element.getAttribute("data-i18n-attr") ?? "").split(";")) {
      const [attribute, key] = pair.split(":");
      if (attribute && key) element.setAttribute(attribute, t(key));
    }
  }
}

/**
 * Load a language and show it. The page keeps the one it has when the file cannot be had.
 * @param {UiLanguage} language
 */
async function load(language) {
  const reply = await fetch(`/static/messages/${language}.json`);
  if (!reply.ok) throw new Error(`messages ${language}: ${reply.status}`);
  messages = await reply.json();
  current = language;
  document.documentElement.lang = language;
  apply(document);
  for (const listener of listeners) listener();
}

/** @param {() => void} listener Called after every change of language. */
export function onLanguage(listener) {
  listeners.add(listener);
}

/** Load the first language and fill every `select.ui-language` of the page. */
export async function start() {
  const selects = /** @type {NodeListOf<HTMLSelectElement>} */ (
    document.querySelectorAll("select.ui-language")
  );
  for (const select of selects) {
    for (const [tag, name] of Object.entries(UI_LANGUAGES)) {
      const option = new Option(name, tag);
      option.lang = tag;
      select.add(option);
    }
    select.addEventListener("change", async () => {
      const language = /** @type {UiLanguage} */ (select.value);
      await load(language);
      localStorage.setItem(REMEMBERED, language);
      for (const other of selects) other.value = language;
    });
  }
  await load(choose(localStorage.getItem(REMEMBERED), navigator.languages));
  for (const select of selects) select.value = current;
}
