// Light, dark or as the system says. Not a module: it has to run before the first paint.

(() => {
  const KEY = "dashboard-theme";
  const root = document.documentElement;

  // Storage throws where the browser keeps none for this page.
  const stored = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null;
    }
  };
  const store = (theme) => {
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // then it lasts until the page is left
    }
  };
  const apply = (theme) => {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
    document.dispatchEvent(new Event("themechange"));
  };

  apply(stored());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    document.dispatchEvent(new Event("themechange"));
  });
  document.addEventListener("DOMContentLoaded", () => {
    const select = document.getElementById("theme");
    select.value = root.dataset.theme ?? "auto";
    select.addEventListener("change", () => {
      store(select.value);
      apply(select.value);
    });
  });
})();
