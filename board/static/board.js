// Live events for the overview. Without JavaScript the page is read and reloaded by hand.
"use strict";
(() => {
  const live = document.getElementById("live");
  if (!live || !window.EventSource) return;
  const source = new EventSource(live.dataset.events);
  source.addEventListener("overview", (event) => {
    // Whoever is on a link by keyboard stays there.
    if (live.contains(document.activeElement)) return;
    live.innerHTML = event.data;
  });
  window.addEventListener("pagehide", () => source.close());
})();
