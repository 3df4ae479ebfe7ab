// What pages can do without this, they do: it adds keys, copying, and keeps open what is open.
"use strict";

(() => {
  const writes = (element) =>
    element.matches("textarea, select, input:not([type=checkbox])") || element.isContentEditable;
  let afterG = 0;

  document.addEventListener("keydown", (event) => {
    const tester = document.getElementById("tester");
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && tester) {
      event.preventDefault();
      htmx.trigger(tester, "map");
      return;
    }
    if (event.key === "Escape") {
      document.body.classList.add("hide-origins");
      if (writes(event.target)) event.target.blur();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || writes(event.target)) return;
    if (event.key === "/") {
      const field = document.querySelector("#message, #reason, #user_id");
      if (field) {
        event.preventDefault();
        field.focus();
      }
      return;
    }
    const soon = Date.now() - afterG < 1500;
    afterG = event.key === "g" ? Date.now() : 0;
    if (soon || event.key === "?") {
      const link = [...document.querySelectorAll("a[data-key]")].find(
        (one) => one.dataset.key === event.key,
      );
      if (link) link.click();
    }
  });

  for (const kind of ["focusin", "mouseover"]) {
    document.addEventListener(kind, (event) => {
      if (event.target.closest?.(".field")) document.body.classList.remove("hide-origins");
    });
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("button.copy");
    if (!button) return;
    const shown = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(shown.textContent);
      button.textContent = "Copied";
    } catch {
      // Browsers give the clipboard to https and to this machine alone.
      getSelection().selectAllChildren(shown);
      button.textContent = "Press Ctrl C";
    }
  });

  const ready = () => {
    for (const button of document.querySelectorAll("button.copy")) button.hidden = false;
  };
  document.addEventListener("DOMContentLoaded", ready);

  let open = [];
  document.addEventListener("htmx:beforeSwap", (event) => {
    open = [...event.detail.target.querySelectorAll("details[open]")].map((one) => one.id);
  });
  document.addEventListener("htmx:afterSwap", () => {
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    ready();
  });
})();
