// Groups of buttons of which one is pressed.

import { byId } from "./dom.js";

/** Call `onChoice` with the value of the button that is pressed from now on. */
export function offerChoices(id, onChoice) {
  const group = byId(id);
  group.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    for (const other of group.querySelectorAll("button")) {
      other.setAttribute("aria-pressed", String(other === button));
    }
    onChoice(button.value);
  });
}
