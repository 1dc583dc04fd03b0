// Compiles the sources twice, as ES modules and as CommonJS, and gives each package its part: its own folder, and `core`, which
// both share, so that neither package depends on another.
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const compiler = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin", "tsc");
const packages = ["sdk", "admin"];
const formats = { esm: { module: "es2022", type: "module" }, cjs: { module: "commonjs", type: "commonjs" } };

const built = mkdtempSync(join(root, ".build-"));
try {
  for (const [format, { module, type }] of Object.entries(formats)) {
    const out = join(built, format);
    const compiled = spawnSync(process.execPath, [compiler, "-p", root, "--module", module, "--outDir", out], { stdio: "inherit" });
    if (compiled.status !== 0) {
      process.exit(compiled.status ?? 1);
    }
    for (const name of packages) {
      const dist = join(root, "packages", name, "dist", format);
      rmSync(dist, { recursive: true, force: true });
      cpSync(join(out, "core"), join(dist, "core"), { recursive: true });
      cpSync(join(out, name), join(dist, name), { recursive: true });
      writeFileSync(join(dist, "package.json"), `${JSON.stringify({ type })}\n`);
    }
  }
} finally {
  rmSync(built, { recursive: true, force: true });
}
