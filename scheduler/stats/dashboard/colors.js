// Colours of the style sheet, for what is drawn on a canvas.

const probe = document.createElement("span");
probe.hidden = true;
document.body.append(probe);

/** Return a custom property's colour as the theme has it now. */
export function color(name) {
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}

/** Call `redraw` when the theme changed. */
export function onThemeChange(redraw) {
  document.addEventListener("themechange", redraw);
}
