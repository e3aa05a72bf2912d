// The HTTP face of the server.

import { has, t } from "./i18n.js";

/** @typedef {import("./protocol.js").RoomDraft} RoomDraft */
/** @typedef {import("./protocol.js").RoomInfo} RoomInfo */
/** @typedef {import("./protocol.js").JoinDraft} JoinDraft */
/** @typedef {import("./protocol.js").RoleName} RoleName */
/** @typedef {import("./protocol.js").CaptionsStatus} CaptionsStatus */

/**
 * @typedef {object} Created
 * @property {RoomInfo} room
 * @property {string} token
 * @property {string} participant
 * @property {string} host_link
 * @property {string} invite_link
 */

/**
 * @typedef {object} Joined
 * @property {RoomInfo} room
 * @property {string} participant
 * @property {string} token
 * @property {RoleName} role
 * @property {CaptionsStatus} captions_status
 */

/** What the server, or the way to it, refused. `code` is stable; `message` is for people. */
export class ApiError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {number} [status] HTTP status; 0 where there was no answer.
   * @param {number} [retryAfter] Seconds that the server asks to wait; 0 where it does not.
   */
  constructor(code, message, status = 0, retryAfter = 0) {
    super(message);
    this.code = code;
    this.status = status;
    this.retryAfter = retryAfter;
  }

  /** In the language of the page where it has words for the code, else in the server's. */
  get words() {
    return words(this.code, this.message);
  }
}

/**
 * @param {string} code
 * @param {string} message
 */
export function words(code, message) {
  if (has(`error.${code}`)) return t(`error.${code}`);
  return message || t("error.unknown");
}

/** @param {unknown} error */
export function wordsOf(error) {
  if (error instanceof ApiError) return error.words;
  return error instanceof Error && error.message ? error.message : t("error.unknown");
}

/**
 * `fetch`, with every failure as an ApiError (RFC 9457 problem details where there are any).
 * @param {string} path
 * @param {RequestInit} [init]
 */
export async function request(path, init = {}) {
  /** @type {Response} */
  let reply;
  try {
    reply = await fetch(path, { cache: "no-store", ...init });
  } catch {
    throw new ApiError("network", t("error.network"));
  }
  if (reply.ok) return reply;
  let code = "unknown";
  let detail = reply.statusText;
  try {
    const problem = await reply.json();
    code = typeof problem.code === "string" ? problem.code : code;
    detail = problem.detail ?? problem.title ?? detail;
  } catch {
    // Not problem JSON: the status line has to do.
  }
  const retryAfter = Number(reply.headers.get("Retry-After")) || 0;
  throw new ApiError(code, detail, reply.status, retryAfter);
}

/**
 * @param {string} path
 * @param {unknown} body
 * @param {string} [token]
 */
async function post(path, body, token) {
  /** @type {Record<string, string>} */
  const headers = { "Content-Type": "application/json" };
  if (token) headers["Authorization"] = `Bearer ${token}`;
  const reply = await request(path, { method: "POST", headers, body: JSON.stringify(body) });
  return reply.json();
}

/**
 * @param {RoomDraft} draft
 * @returns {Promise<Created>}
 */
export function createRoom(draft) {
  return post("/api/rooms", draft);
}

/**
 * @param {string} room
 * @returns {Promise<RoomInfo>}
 */
export async function getRoom(room) {
  return (await request(`/api/rooms/${encodeURIComponent(room)}`)).json();
}

/**
 * @param {string} room
 * @param {JoinDraft} draft
 * @returns {Promise<Joined>}
 */
export function join(room, draft) {
  return post(`/api/rooms/${encodeURIComponent(room)}/participants`, draft);
}
