// Hides what does not match: every pressed verdict button admits its verdict (none pressed admits
// all), and every word of the text field has to occur.
(() => {
  const text = document.getElementById("text");
  const none = document.getElementById("none");
  const buttons = [...document.querySelectorAll("[data-filter]")];
  const items = [...document.querySelectorAll("[data-verdict]")];
  const words = new Map(items.map((item) => [item, item.textContent.toLowerCase()]));
  const apply = () => {
    const wanted = buttons.filter((b) => b.getAttribute("aria-pressed") === "true");
    const verdicts = new Set(wanted.map((b) => b.dataset.filter));
    const query = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const item of items) {
      const own = item.dataset.verdict.split(" ");
      const admitted = verdicts.size === 0 || own.some((verdict) => verdicts.has(verdict));
      item.hidden = !admitted || !query.every((word) => words.get(item).includes(word));
    }
    for (const group of document.querySelectorAll("[data-group]")) {
      group.hidden = !group.querySelector("[data-verdict]:not([hidden])");
    }
    none.hidden = items.some((item) => !item.hidden);
  };
  for (const button of buttons) {
    button.addEventListener("click", () => {
      const pressed = button.getAttribute("aria-pressed") === "true";
      button.setAttribute("aria-pressed", String(!pressed));
      apply();
    });
  }
  text.addEventListener("input", apply);
})();
