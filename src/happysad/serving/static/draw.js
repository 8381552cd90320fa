// Outline faces on a canvas, and draw the strip of P(happy) over time.

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

export const percent = (p) => `${Math.round(100 * p)} %`;

/** Name a face's label with its score; of "uncertain", both scores. */
export function describeFace({ label, scores }) {
  if (label !== "uncertain") return `${label} ${percent(scores[label])}`;
  return `uncertain, happy ${percent(scores.happy)}, sad ${percent(scores.sad)}`;
}

export function outline(canvas, faces) {
  const context = canvas.getContext("2d");
  const unit = Math.max(canvas.width, canvas.height) / 400;
  context.lineWidth = Math.max(2, 1.6 * unit);
  context.font = `600 ${Math.max(14, 11 * unit)}px system-ui, sans-serif`;
  context.textBaseline = "bottom";
  for (const { box: [x, y, width, height], label, scores } of faces) {
    const text = label === "uncertain" ? label : describeFace({ label, scores });
    const tall = Math.max(18, 15 * unit);
    context.strokeStyle = context.fillStyle = style(label);
    context.strokeRect(x, y, width, height);
    const wide = context.measureText(text).width + 10;
    const left = Math.min(Math.max(0, x), Math.max(0, canvas.width - wide));
    const bottom = Math.max(tall, y);
    context.fillRect(left, bottom - tall, wide, tall);
    context.fillStyle = style("paper");
    context.fillText(text, left + 5, bottom - 2);
  }
}

/** Draw the last minute: `points` are [milliseconds, P(happy)]. */
export function strip(canvas, points, now) {
  canvas.width = canvas.clientWidth * devicePixelRatio;
  canvas.height = canvas.clientHeight * devicePixelRatio;
  const context = canvas.getContext("2d");
  const x = (time) => canvas.width * (1 - (now - time) / 60000);
  const y = (p) => canvas.height * (0.95 - 0.9 * p);
  context.strokeStyle = style("rule");
  context.beginPath();
  context.moveTo(0, y(0.5));
  context.lineTo(canvas.width, y(0.5));
  context.stroke();
  context.fillStyle = style("muted");
  context.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
  context.fillText("happy", 6, y(1) + 12 * devicePixelRatio);
  context.fillText("sad", 6, y(0));
  context.strokeStyle = style("accent");
  context.lineWidth = 2 * devicePixelRatio;
  context.beginPath();
  points.forEach(([time, p], i) => {
    const gap = i === 0 || time - points[i - 1][0] > 2000;
    context[gap ? "moveTo" : "lineTo"](x(time), y(p));
  });
  context.stroke();
}
