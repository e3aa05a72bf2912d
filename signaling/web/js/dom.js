// Small helpers over the DOM. Nothing here writes markup from text.

/**
 * An element of the page that must be there.
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} [kind]
 * @returns {T}
 */
export function $(id, kind) {
  const element = document.getElementById(id);
  if (!element || (kind && !(element instanceof kind))) throw new Error(`no element #${id}`);
  return /** @type {T} */ (element);
}

/**
 * Make an element.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {{ class?: string, text?: string, lang?: string, attributes?: Record<string, string> }} [with_]
 * @param {...(Node | null)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, with_ = {}, ...children) {
  const element = document.createElement(tag);
  if (with_.class) element.className = with_.class;
  if (with_.lang) element.lang = with_.lang;
  if (with_.text !== undefined) element.textContent = with_.text;
  for (const [name, value] of Object.entries(with_.attributes ?? {})) {
    element.setAttribute(name, value);
  }
  for (const child of children) if (child) element.append(child);
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** @param {string} name A symbol of img/icons.svg. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  svg.append(document.createElementNS(SVG, "use"));
  setIcon(svg, name);
  return svg;
}

/**
 * @param {Element} holder An icon, or something that holds one.
 * @param {string} name
 */
export function setIcon(holder, name) {
  holder.querySelector("use")?.setAttribute("href", `/static/img/icons.svg#${name}`);
}

/**
 * One or two letters that stand for a name: the first of the first and last word; one character
 * of scripts that need no more.
 * @param {string} name
 */
export function initials(name) {
  const words = name.trim().split(/\s+/u).filter(Boolean);
  const first = [...(words[0] ?? "?")][0] ?? "?";
  if (/\p{Script=Han}|\p{Script=Hiragana}|\p{Script=Katakana}|\p{Script=Hangul}/u.test(first)) {
    return first;
  }
  const last = words.length > 1 ? ([...(words.at(-1) ?? "")][0] ?? "") : "";
  return (first + last).toLocaleUpperCase();
}

const HUES = [182, 28, 262, 140, 330, 62, 225, 5];

/**
 * The hue of a person's colour, in degrees, the same on every screen.
 * @param {string} participant
 */
export function hue(participant) {
  let sum = 0;
  for (const character of participant) sum = (sum * 31 + (character.codePointAt(0) ?? 0)) >>> 0;
  return HUES[sum % HUES.length] ?? 182;
}

/**
 * @param {string} participant
 * @param {string} name
 */
export function avatar(participant, name) {
  const element = make("span", {
    class: "avatar",
    text: initials(name),
    attributes: { "aria-hidden": "true" },
  });
  element.style.setProperty("--hue", String(hue(participant)));
  return element;
}

/**
 * Make `[data-copy]` buttons copy the value of the input that they name.
 * @param {() => string} done Text to show for a moment.
 */
export function copyButtons(done) {
  for (const button of /** @type {NodeListOf<HTMLElement>} */ (
    document.querySelectorAll("[data-copy]")
  )) {
    const input = $(button.dataset["copy"] ?? "", HTMLInputElement);
    input.addEventListener("focus", () => input.select());
    button.addEventListener("click", async () => {
      input.select();
      try {
        await navigator.clipboard.writeText(input.value);
      } catch {
        // Without HTTPS there is no clipboard; the old command still copies a selection.
        document.execCommand("copy");
      }
      const text = button.querySelector("span");
      const was = text?.textContent ?? "";
      if (!text || was === done()) return;
      text.textContent = done();
      setIcon(button, "check");
      setTimeout(() => {
        text.textContent = was;
        setIcon(button, "copy");
      }, 2000);
    });
  }
}

/**
 * Show a short message for a moment.
 * @param {string} text
 * @param {"" | "bad"} [tone]
 */
export function toast(text, tone = "") {
  const element = make("div", { class: `toast ${tone}`.trim(), text });
  $("toasts").append(element);
  setTimeout(() => element.remove(), tone ? 7000 : 4000);
}
