"use strict";
// The page is complete without this: sorting, filtering and the line under a chart are extras.
(() => {
  const unit = {"": 1, Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40};
  const number = (text) => {
    const m = /^([+-]?[\d.,]+)\s*(Ki|Mi|Gi|Ti)?/.exec(text.trim());
    return m ? Number(m[1].replaceAll(",", "")) * unit[m[2] || ""] : -1;
  };
  for (const table of document.querySelectorAll("table.sort")) {
    const body = table.tBodies[0];
    table.tHead.querySelectorAll("th").forEach((th, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...th.childNodes);
      th.append(button);
      button.addEventListener("click", () => {
        const numeric = th.classList.contains("n");
        const before = th.getAttribute("aria-sort");
        const down = before ? before === "ascending" : numeric;
        table.tHead.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
        th.setAttribute("aria-sort", down ? "descending" : "ascending");
        const key = (row) => row.cells[column] ? row.cells[column].textContent : "";
        const order = numeric ? (a, b) => number(key(a)) - number(key(b)) : (a, b) => key(a).localeCompare(key(b));
        const last = [...body.rows].filter((row) => row.classList.contains("rest"));
        const rows = [...body.rows].filter((row) => !row.classList.contains("rest"));
        rows.sort((a, b) => down ? order(b, a) : order(a, b));
        body.append(...rows, ...last);
      });
    });
    if (body.rows.length > 15) {
      const box = document.createElement("p");
      box.className = "find";
      const label = document.createElement("label");
      const input = document.createElement("input");
      input.type = "search";
      input.addEventListener("input", () => {
        const wanted = input.value.toLowerCase();
        for (const row of body.rows) row.hidden = wanted !== "" && !row.textContent.toLowerCase().includes(wanted);
      });
      label.append("Filter ", input);
      box.append(label);
      table.parentElement.before(box);
    }
  }
  for (const chart of document.querySelectorAll(".say")) {
    const area = chart.previousElementSibling;
    const plain = chart.textContent;
    const say = (event) => {
      const at = event.target.closest(".h,.push");
      const title = at && at.querySelector("title");
      chart.textContent = title ? title.textContent : plain;
    };
    area.addEventListener("mouseover", say);
    area.addEventListener("focusin", say);
    area.addEventListener("mouseleave", () => { chart.textContent = plain; });
  }
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((d) => { d.open = true; }));
})();
