/**
 * `npm start`: installs and builds what is missing, then
 *   - without arguments does the main job on a disk that it makes by itself (apps/demo);
 *   - with arguments runs the command: `npm start -- convert -p -O qcow2 old.img new.qcow2`.
 * Its own messages go to standard error; standard output is the command's.
 */
import { requireSupportedNode } from "./lib/node-version.mjs";

requireSupportedNode();
main().then(
  (exitCode) => {
    process.exitCode = exitCode;
  },
  (error) => {
    console.error(error);
    process.exitCode = 1;
  },
);

async function main() {
  const { ensureInstalled } = await import("./lib/install.mjs");
  const { ensureBuilt } = await import("./lib/build.mjs");
  const { repository, runNode } = await import("./lib/run.mjs");
  await ensureInstalled();
  if (!(await ensureBuilt())) {
    console.error("The build failed: see above.");
    return 1;
  }
  const args = process.argv.slice(2);
  const program = args.length === 0 ? "apps/demo/dist/main.js" : "apps/cli/bin/qcow2.cjs";
  // npm runs scripts in the repository's top folder; file names on the command line are relative to where the user was.
  const cwd = process.env.INIT_CWD ?? process.cwd();
  return await runNode(`${repository}/${program}`, args, { cwd, stdio: "inherit" });
}
