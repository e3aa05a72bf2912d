// The room's page: which screen is shown.

import { ApiError, getRoom, request, wordsOf } from "./api.js";
import { wireDialogs } from "./dialogs.js";
import { $, copyButtons } from "./dom.js";
import * as i18n from "./i18n.js";
import { t } from "./i18n.js";
import { JoinScreen } from "./join.js";
import { LiveRoom } from "./live.js";
import { claimsOf, loadPass, savePass, tokenFromAddress } from "./session.js";

/** @typedef {import("./protocol.js").RoomInfo} RoomInfo */
/** @typedef {import("./protocol.js").CaptionsStatus} CaptionsStatus */
/** @typedef {import("./session.js").Pass} Pass */
/** @typedef {import("./live.js").Ending} Ending */

const id = decodeURIComponent(location.pathname.split("/")[2] ?? "");

/** @type {LiveRoom | null} */
let live = null;
/** What the message screen says, to say it again in another language. @type {() => void} */
let repeat = () => {};

const joinScreen = new JoinScreen(enter);

/** @param {"loading" | "message" | "join" | "room"} screen */
function show(screen) {
  document.body.dataset["screen"] = screen;
  if (screen !== "join") joinScreen.hide();
  $("screen-message").hidden = screen !== "message";
  $("screen-room").hidden = screen !== "room";
}

/**
 * @param {() => string} title
 * @param {() => string} text
 * @param {{ label: string, then: () => void }} [retry]
 */
function message(title, text, retry) {
  const button = $("message-retry", HTMLButtonElement);
  repeat = () => {
    $("message-title").textContent = title();
    $("message-text").textContent = text();
    button.textContent = t(retry?.label ?? "message.retry");
    document.title = `${title()} · chatroom`;
  };
  repeat();
  button.hidden = !retry;
  button.onclick = () => retry?.then();
  show("message");
  $("message-title").focus();
}

/** @returns {Promise<CaptionsStatus | null>} */
async function captionsStatus() {
  try {
    const languages = await (await request("/api/languages")).json();
    return languages.captions_status ?? languages.status ?? null;
  } catch {
    return null;
  }
}

/** Look the room up, and show the screen that fits. */
async function open() {
  const fromAddress = tokenFromAddress();
  if (fromAddress) {
    const { name = "" } = claimsOf(fromAddress);
    savePass(id, { token: fromAddress, name, host: true, captions: null, inside: false });
  }
  /** @type {RoomInfo} */
  let room;
  try {
    room = await getRoom(id);
  } catch (error) {
    failed(error);
    return;
  }
  if (room.ended) {
    over(room.title, { kind: "ended" });
    return;
  }
  const pass = loadPass(id);
  if (pass?.inside) {
    // A reload: straight back in.
    enter(room, pass);
    return;
  }
  const status = await captionsStatus();
  show("join");
  joinScreen.show(room, pass, status);
}

/** @param {unknown} error */
function failed(error) {
  const retry = { label: "message.retry", then: () => void open() };
  const missing = error instanceof ApiError && [400, 404].includes(error.status);
  if (missing) {
    message(
      () => t("message.missing_title"),
      () => t("message.missing_text"),
    );
  } else if (error instanceof ApiError && error.code === "room_ended") {
    message(
      () => t("message.over_title"),
      () => error.words,
    );
  } else if (error instanceof ApiError && error.code === "network") {
    message(
      () => t("message.unreachable_title"),
      () => t("error.network"),
      retry,
    );
  } else {
    message(
      () => t("message.error_title"),
      () => wordsOf(error),
      retry,
    );
  }
}

/**
 * @param {RoomInfo} room
 * @param {Pass} pass
 */
function enter(room, pass) {
  show("room");
  live = new LiveRoom(room, pass, (ending) => {
    live = null;
    over(room.title, ending);
  });
}

/**
 * @param {string} title Of the room.
 * @param {Ending} ending
 */
function over(title, ending) {
  const back = { label: "message.back", then: () => void open() };
  const pass = loadPass(id);
  switch (ending.kind) {
    case "left":
      if (pass) savePass(id, { ...pass, inside: false });
      message(
        () => t("message.left_title"),
        () => t("message.left_text", { title }),
        back,
      );
      break;
    case "removed":
      savePass(id, null);
      message(
        () => t("message.removed_title"),
        () =>
          ending.reason
            ? t("message.removed_reason", { title, reason: ending.reason })
            : t("message.removed_text", { title }),
      );
      break;
    case "unauthorized":
      savePass(id, null);
      message(
        () => t("message.error_title"),
        () => t("error.unauthorized"),
        back,
      );
      break;
    default:
      savePass(id, null);
      message(
        () => t("message.over_title"),
        () => t(ending.kind === "expired" ? "message.expired_text" : "message.over_text", { title }),
      );
  }
}

i18n.onLanguage(() => {
  joinScreen.draw();
  live?.draw();
  repeat();
});
// A page that comes back from the browser's history has hung up when it was left.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});
wireDialogs();
await i18n.start();
copyButtons(() => t("copy.copied"));
$("share-link", HTMLInputElement).value = `${location.origin}/r/${id}`;
await open();
