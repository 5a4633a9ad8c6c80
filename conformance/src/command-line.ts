/** What this package's own commands are asked for: options, names, and `--help`. */
import { type ParseArgsConfig, parseArgs } from "node:util";

type OptionsConfig = NonNullable<ParseArgsConfig["options"]>;
type Parsed<Options extends OptionsConfig> = ReturnType<
  typeof parseArgs<{ readonly options: Options; readonly allowPositionals: boolean }>
>;

/**
 * The options and names that the process was started with. Asked for `--help` (`-h`), it prints `help` and ends the
 * process with 0; for an option that there is not, with 1.
 */
export function readCommandLine<const Options extends OptionsConfig>({
  help,
  options,
  allowPositionals = false,
}: {
  readonly help: string;
  readonly options: Options;
  readonly allowPositionals?: boolean;
}): Parsed<Options> {
  if (process.argv.slice(2).some((word) => word === "--help" || word === "-h")) {
    console.log(help);
    process.exit(0);
  }
  try {
    return parseArgs({ options, allowPositionals });
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n--help tells what there is.`);
    process.exit(1);
  }
}
