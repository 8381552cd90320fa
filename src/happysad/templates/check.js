/* The check's report: tick images and download their list for `happysad train --exclude`. */
const ticks = [...document.querySelectorAll("input[type=checkbox]:enabled")];
const bar = document.querySelector(".selection");

function selection() {
  return new Map(ticks.filter((tick) => tick.checked).map((tick) => [tick.value, tick.dataset.reason]));
}

/* An image may occur in several sections; its ticks agree. */
function tick(paths, checked) {
  for (const box of ticks) if (paths.has(box.value)) box.checked = checked;
  const count = selection().size;
  bar.hidden = count === 0;
  bar.querySelector("[role=status]").textContent = count === 1 ? "1 image ticked" : `${count} images ticked`;
}

function csv() {
  const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  return ["path,reason", ...[...selection()].map((row) => row.map(cell).join(","))].join("\r\n") + "\r\n";
}

document.addEventListener("change", (event) => {
  if (ticks.includes(event.target)) tick(new Set([event.target.value]), event.target.checked);
});
for (const button of document.querySelectorAll("button.all")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const paths = [...button.closest("section").querySelectorAll(".group")].flatMap((group) => {
      const boxes = [...group.querySelectorAll("input")];
      return (boxes.length > 1 ? boxes.slice(1) : boxes).map((box) => box.value);
    });
    tick(new Set(paths), true);
  });
}
document.getElementById("clear").addEventListener("click", () => tick(new Set(ticks.map((box) => box.value)), false));
document.getElementById("download").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  link.download = "exclude.csv";
  link.click();
  URL.revokeObjectURL(link.href);
});
