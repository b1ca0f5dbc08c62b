// Comfort only: all that the page says is there without it, as of when it was opened.
(() => {
  "use strict";
  const live = document.getElementById("live");
  const said = document.getElementById("said");
  const tell = (state, words) => {
    if (live.dataset.live === state) return;
    live.dataset.live = state;
    live.querySelector(".words").textContent = words;
  };

  // The page is made by the server, again and again. Parts that are not as they were are replaced; the others, and what the reader has in focus in
  // them, are left alone.
  let busy = false, again = false;
  const refresh = async () => {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    try {
      do {
        again = false;
        const response = await fetch("./", { headers: { Accept: "text/html" }, cache: "no-store" });
        if (!response.ok) {
          if (response.status === 401) over();
          return;
        }
        const next = new DOMParser().parseFromString(await response.text(), "text/html");
        for (const part of next.querySelectorAll("[data-part]")) {
          const here = document.querySelector(`[data-part="${CSS.escape(part.dataset.part)}"]`);
          if (!here || here.outerHTML === part.outerHTML) continue;
          const scrolled = here.querySelector(".tablebox")?.scrollLeft ?? 0;
          const focused = here.contains(document.activeElement) && document.activeElement.matches(".tablebox");
          here.replaceWith(document.adoptNode(part));
          const box = part.querySelector(".tablebox");
          if (box) {
            box.scrollLeft = scrolled;
            if (focused) box.focus({ preventScroll: true });
          }
        }
        document.body.dataset.state = next.body.dataset.state;
        document.title = next.title;
      } while (again);
    } catch {
      // the stream says so too, and tries again
    } finally {
      busy = false;
    }
  };

  let stream, ended = false;
  const end = () => {
    ended = true;
    stream.close();
  };
  const over = () => {
    end();
    tell("off", "Not live any more: reload the page to sign in again");
  };

  const listen = () => {
    if (ended) return;
    stream = new EventSource("api/events");
    stream.addEventListener("state", (event) => {
      const state = JSON.parse(event.data);
      const first = live.dataset.live !== "on";
      tell("on", "Live: changes are shown as they are found");
      const versions = state.watches.map((w) => w.name + ":" + w.version).join(" ");
      if (!first || versions !== document.body.dataset.state) refresh(); // of health, too, at every beat
    });
    stream.addEventListener("change", (event) => {
      const change = JSON.parse(event.data);
      const part = (keys, one, more) => keys.count === 0 ? "" : keys.count === 1 ? ` ${keys.keys[0]} ${one}.` : ` ${keys.count} groups ${more}.`;
      said.textContent = `${change.invariant}:${part(change.broke, "broke it", "broke it")}${part(change.healed, "healed", "healed")} ${change.summary}`;
      refresh();
    });
    stream.addEventListener("error", async () => {
      if (ended) return;
      tell("lost", "Connection lost: trying again");
      if (stream.readyState !== EventSource.CLOSED) return; // the browser tries again
      await refresh(); // it is for good where nobody may listen any more; else, somebody in between had no answer, or there are too many streams
      setTimeout(listen, 3000);
    });
  };
  listen();
  addEventListener("pagehide", end);
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
})();
