// Ask for the list again and again, and show it where it has changed.
const list = document.getElementById("mails");

async function refresh() {
  try {
    const answer = await fetch(list.dataset.refresh);
    const html = await answer.text();
    if (answer.ok && html !== list.dataset.last) {
      list.innerHTML = list.dataset.last = html;
    }
  } catch {
    // The site is being restarted; the next time will tell.
  }
  setTimeout(refresh, 400);
}

refresh();
