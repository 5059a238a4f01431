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

  // A link opens what it points at, and everything around it.
  const open = (item) => {
    for (let at = item; at; at = at.parentElement) {
      if (at.tagName === "DETAILS") at.open = true;
    }
    item.scrollIntoView({ block: "start" });
  };
  const follow = () => {
    const item = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (item && item.tagName === "DETAILS") open(item);
  };
  window.addEventListener("hashchange", follow);
  follow();

  const walk = document.getElementById("walk");
  const found = () => [...document.querySelectorAll(".found:not([hidden])")];
  walk.hidden = found().length === 0;
  let at = -1;
  for (const button of walk.querySelectorAll("[data-step]")) {
    button.addEventListener("click", () => {
      const all = found();
      if (all.length === 0) return;
      at = (at + Number(button.dataset.step) + (at < 0 && button.dataset.step === "-1" ? 1 : 0) + all.length) % all.length;
      history.replaceState(null, "", `#${all[at].id}`);
      open(all[at]);
    });
  }

  // A trace opens at the first line that made the finding.
  for (const trace of document.querySelectorAll("[data-trace]")) {
    const show = () => {
      const box = trace.querySelector(".trace");
      const marked = trace.querySelector("[data-part]");
      if (trace.open && marked) box.scrollTop = marked.offsetTop - box.offsetTop - 24;
    };
    trace.addEventListener("toggle", show);
    show();
  }
})();
