// Dialogs that ask something and wait for the answer.

import { $ } from "./dom.js";
import { t } from "./i18n.js";

/** Close buttons, and a touch beside a dialog, close it. */
export function wireDialogs() {
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.addEventListener("click", (event) => {
      const target = /** @type {Element} */ (event.target);
      if (target === dialog && !inside(dialog, event)) dialog.close("");
      if (target.closest("[data-close]")) dialog.close("");
    });
  }
}

/**
 * @param {HTMLElement} element
 * @param {MouseEvent} event
 */
function inside(element, event) {
  // A click made by the keyboard has no place.
  if (event.clientX === 0 && event.clientY === 0) return true;
  const box = element.getBoundingClientRect();
  return (
    event.clientX >= box.left &&
    event.clientX <= box.right &&
    event.clientY >= box.top &&
    event.clientY <= box.bottom
  );
}

/**
 * Show a dialog and wait for its answer: the value of the button, "" where it was put away.
 * @param {string} id
 * @returns {Promise<string>}
 */
export function ask(id) {
  const dialog = $(id, HTMLDialogElement);
  dialog.returnValue = "";
  if (!dialog.open) dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true });
  });
}

/**
 * @param {object} question
 * @param {string} question.title
 * @param {string} question.text
 * @param {string} question.yes
 * @param {boolean} [question.reason] Whether to ask for a reason.
 * @returns {Promise<{ yes: boolean, reason: string }>}
 */
export async function confirm({ title, text, yes, reason = false }) {
  $("confirm-heading").textContent = title;
  $("confirm-text").textContent = text;
  $("confirm-yes").textContent = yes;
  $("confirm-reason-field").hidden = !reason;
  const input = $("confirm-reason", HTMLInputElement);
  input.value = "";
  const answer = await ask("confirm-dialog");
  return { yes: answer === "yes", reason: input.value.trim() };
}

/**
 * What a host can do with somebody on stage. Resolves to what was chosen, or null.
 * @param {import("./protocol.js").StageMember} member
 * @param {boolean} host Whether the member is a host, who stays on stage.
 * @returns {Promise<"mute" | "down" | "remove" | null>}
 */
export function manage(member, host) {
  const dialog = $("member-dialog", HTMLDialogElement);
  $("member-heading").textContent = member.name;
  const mute = $("member-mute", HTMLButtonElement);
  mute.disabled = member.muted;
  mute.querySelector("span")?.replaceChildren(t(member.muted ? "stage.muted" : "member.mute"));
  $("member-down").hidden = host;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    const controller = new AbortController();
    const { signal } = controller;
    for (const choice of /** @type {const} */ (["mute", "down", "remove"])) {
      $(`member-${choice}`).addEventListener("click", () => dialog.close(choice), { signal });
    }
    dialog.addEventListener(
      "close",
      () => {
        controller.abort();
        resolve(/** @type {"mute" | "down" | "remove"} */ (dialog.returnValue) || null);
      },
      { signal },
    );
  });
}
