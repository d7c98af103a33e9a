// Counts on until the number is exact, a little at a time: the pause is three times as long as the answer took.
(() => {
  "use strict";
  const found = document.getElementById("found");
  if (!found?.dataset.count) return;
  const form = document.getElementById("begin");
  const words = (number) => `${number.toLocaleString("en")} email${number === 1 ? "" : "s"}${form ? "" : " found"}`;
  found.removeAttribute("aria-live"); // only the last number is announced
  found.querySelector("a").hidden = true;

  async function countOn() {
    // First things first: while the page is still searched for, nothing is counted.
    if (document.getElementById("search-on")) return void setTimeout(countOn, 500);
    if (!found.dataset.count) return;
    if (document.hidden) return void document.addEventListener("visibilitychange", countOn, { once: true });
    const url = new URL(found.dataset.count, location.href);
    url.searchParams.set("below", found.dataset.below);
    url.searchParams.set("counted", found.dataset.counted);
    const began = performance.now();
    let answer;
    try {
      const response = await fetch(url, { headers: { Accept: "application/json" } });
      if (!response.ok) throw new Error(response.status);
      answer = await response.json();
    } catch {
      found.querySelector("a").hidden = false;
      return;
    }
    found.dataset.counted = answer.number;
    if (form) form.elements.expected.value = answer.number;
    if (answer.below === null) {
      found.setAttribute("aria-live", "polite");
      found.textContent = words(answer.number);
      return;
    }
    found.dataset.below = answer.below;
    found.querySelector(".value").textContent = answer.number.toLocaleString("en");
    setTimeout(countOn, 3 * (performance.now() - began));
  }
  countOn();
})();
