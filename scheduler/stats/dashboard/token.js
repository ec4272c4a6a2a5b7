// The admin token: asked for when it is first needed, kept for the tab.

import { byId, setText } from "./dom.js";

const KEY = "admin-token";

let remembered = null;

/** Return the token, and ask for it where there is none; null where the person gave none. */
export async function adminToken() {
  remembered ??= stored();
  return remembered ?? ask("");
}

/** Ask again, since the last one was refused for `problem`. */
export function askAgain(problem) {
  forget();
  return ask(problem);
}

function ask(problem) {
  const dialog = byId("token");
  const input = byId("token-input");
  setText(byId("token-problem"), problem);
  input.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => {
        const token = dialog.returnValue === "ok" ? input.value.trim() : "";
        input.value = "";
        if (token) remember(token);
        resolve(token || null);
      },
      { once: true },
    );
  });
}

// Storage throws where the browser keeps none for this page; then it lasts until that is left.
function stored() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}

function remember(token) {
  remembered = token;
  try {
    sessionStorage.setItem(KEY, token);
  } catch {
    // see above
  }
}

function forget() {
  remembered = null;
  try {
    sessionStorage.removeItem(KEY);
  } catch {
    // see above
  }
}
