// What this tab remembers of a room, and what this browser remembers of the reader.

/**
 * @typedef {object} Pass
 * @property {string} token
 * @property {string} name
 * @property {boolean} host Whether it came from a host link.
 * @property {string | null} captions
 * @property {boolean} inside Whether the person was in the room: a reload goes straight back.
 */

/** @param {string} room */
const key = (room) => `room:${room}`;

/**
 * @param {string} room
 * @returns {Pass | null}
 */
export function loadPass(room) {
  try {
    const pass = JSON.parse(sessionStorage.getItem(key(room)) ?? "null");
    return pass && typeof pass.token === "string" ? pass : null;
  } catch {
    return null;
  }
}

/**
 * @param {string} room
 * @param {Pass | null} pass
 */
export function savePass(room, pass) {
  if (pass) sessionStorage.setItem(key(room), JSON.stringify(pass));
  else sessionStorage.removeItem(key(room));
}

/**
 * What a token says of itself. Only for showing: the server alone can check it.
 * @param {string} token
 * @returns {{ name?: string, role?: string, sub?: string, speaks?: string }}
 */
export function claimsOf(token) {
  try {
    const part = (token.split(".")[1] ?? "").replace(/-/g, "+").replace(/_/g, "/");
    const bytes = Uint8Array.from(atob(part), (c) => c.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return {};
  }
}

/**
 * Take a host's token out of the address, so that it is not seen or copied by accident.
 * @returns {string | null}
 */
export function tokenFromAddress() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) history.replaceState(null, "", location.pathname + location.search);
  return token;
}

/**
 * @template {string} T
 * @param {string} name
 * @param {readonly T[]} allowed
 * @param {T} otherwise
 * @returns {T}
 */
export function preference(name, allowed, otherwise) {
  const value = /** @type {T | null} */ (localStorage.getItem(name));
  return value !== null && allowed.includes(value) ? value : otherwise;
}
