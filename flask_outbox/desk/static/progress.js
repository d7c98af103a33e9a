// Works off an action that this browser has begun, a second at a time; without it one presses Continue.
(() => {
  "use strict";
  const KEY = "desk-begun";
  // Only who has begun the action, or presses Continue, goes on with it: to look at it must change nothing.
  document.getElementById("begin")?.addEventListener("submit", () => sessionStorage.setItem(KEY, "1"));
  const form = document.getElementById("continue");
  const progress = document.getElementById("progress");
  if (!form || !progress) return;
  const changed = document.getElementById("changed");
  const state = document.getElementById("state");

  async function run() {
    form.hidden = true;
    state.textContent = "Working …";
    for (;;) {
      let answer;
      try {
        const response = await fetch(form.action, { method: "POST", body: new FormData(form), headers: { Accept: "application/json" } });
        if (!response.ok) throw new Error(response.status);
        answer = await response.json();
      } catch {
        state.textContent = "Interrupted: the server did not answer. Nothing is lost; continue when it is back.";
        form.hidden = false;
        return;
      }
      changed.textContent = answer.changed.toLocaleString("en");
      progress.max = Math.max(answer.expected, answer.changed, 1);
      progress.value = answer.changed;
      if (answer.finished) return location.reload();
    }
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    run();
  });
  if (sessionStorage.getItem(KEY)) {
    sessionStorage.removeItem(KEY);
    run();
  }
})();
