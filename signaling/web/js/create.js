// The page that opens a room.

import { ApiError, createRoom, wordsOf } from "./api.js";
import { $, copyButtons, icon, make } from "./dom.js";
import * as i18n from "./i18n.js";
import { t } from "./i18n.js";
import { COMMON, browserLanguage, endonym, label, nameOf, sorted } from "./languages.js";

const form = $("create-form", HTMLFormElement);
const title = $("title", HTMLInputElement);
const hostName = $("host-name", HTMLInputElement);
const rules = $("rules", HTMLTextAreaElement);
const speaks = $("speaks", HTMLSelectElement);
const add = $("add-language", HTMLSelectElement);
const button = $("create-button", HTMLButtonElement);
const error = $("create-error");

/** Languages beside the host's own, in the order of choosing. @type {string[]} */
let others = [];
/** @type {import("./api.js").Created | null} */
let created = null;

function draw() {
  document.title = t("create.page");
  const own = speaks.value || (COMMON.includes(browserLanguage()) ? browserLanguage() : "en");
  const options = (/** @type {readonly string[]} */ languages) =>
    sorted(languages).map((language) =>
      make("option", { text: label(language), attributes: { value: language } }),
    );
  speaks.replaceChildren(...options(COMMON));
  speaks.value = own;
  others = others.filter((language) => language !== own);
  add.replaceChildren(
    make("option", { text: t("create.add_language"), attributes: { value: "" } }),
    ...options(COMMON.filter((language) => language !== own && !others.includes(language))),
  );
  $("languages").replaceChildren(...others.map(chip));
  $("languages").hidden = others.length === 0;
  // The server takes 20 languages.
  add.disabled = others.length >= 19;
  if (created) $("created-title").textContent = t("created.title");
}

/** @param {string} language */
function chip(language) {
  const remove = make("button", {
    attributes: {
      type: "button",
      "aria-label": t("create.remove_language", { language: nameOf(language) }),
    },
  });
  remove.append(icon("close"));
  remove.addEventListener("click", () => {
    others = others.filter((other) => other !== language);
    draw();
    add.focus();
  });
  return make(
    "li",
    { class: "chip" },
    make("span", { text: endonym(language), lang: language }),
    remove,
  );
}

/**
 * Say what is wrong, beside the field that it is about.
 * @param {string} text
 * @param {HTMLElement} [field]
 */
function complain(text, field) {
  error.textContent = text;
  error.hidden = false;
  field?.setAttribute("aria-invalid", "true");
  field?.setAttribute("aria-describedby", error.id);
  field?.focus();
}

async function submit() {
  error.hidden = true;
  for (const field of [title, hostName]) {
    field.removeAttribute("aria-invalid");
    field.removeAttribute("aria-describedby");
  }
  if (!title.value.trim()) return complain(t("create.need_title"), title);
  if (!hostName.value.trim()) return complain(t("create.need_name"), hostName);
  button.disabled = true;
  button.textContent = t("create.working");
  try {
    created = await createRoom({
      title: title.value.trim(),
      languages: [speaks.value, ...others],
      rules: rules.value.trim(),
      host_name: hostName.value.trim(),
    });
    localStorage.setItem("name", hostName.value.trim());
    done(created);
  } catch (failure) {
    // The server's own sentence names the field; ours is only better where it is about the state.
    const text =
      failure instanceof ApiError && failure.code.startsWith("bad_")
        ? failure.message
        : wordsOf(failure);
    complain(text);
  } finally {
    button.disabled = false;
    button.textContent = t("create.button");
  }
  return undefined;
}

/** @param {import("./api.js").Created} room */
function done(room) {
  const host = new URL(room.host_link, location.href).href;
  $("host-link", HTMLInputElement).value = host;
  $("invite-link", HTMLInputElement).value = new URL(room.invite_link, location.href).href;
  $("enter", HTMLAnchorElement).href = host;
  form.hidden = true;
  $("created").hidden = false;
  draw();
  $("created-title").focus();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  void submit();
});
speaks.addEventListener("change", draw);
add.addEventListener("change", () => {
  if (add.value) others.push(add.value);
  draw();
  add.focus();
});

hostName.value = localStorage.getItem("name") ?? "";
i18n.onLanguage(draw);
await i18n.start();
copyButtons(() => t("copy.copied"));
// On a small screen the keyboard would hide what the page is about.
if (matchMedia("(min-width: 900px)").matches) title.focus();
