// Copy the modules that the web page of `happysad serve` uses, the models and the licence into the package.

import { cpSync, mkdirSync } from "node:fs";

const here = (path) => new URL(path, import.meta.url);

for (const name of ["detector", "faces", "model_file", "pixels"]) {
  cpSync(here(`../src/happysad/serving/static/${name}.js`), here(`${name}.js`));
}
mkdirSync(here("models"), { recursive: true });
for (const name of ["happysad", "faces"]) {
  cpSync(here(`../src/happysad/models/${name}.tflite`), here(`models/${name}.tflite`));
}
cpSync(here("../LICENSE"), here("LICENSE"));
