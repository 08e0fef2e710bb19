#!/usr/bin/env node
/** The program `earwitness`. */
import { runCli } from './commands/cli.ts';

process.exit(await runCli(process.argv.slice(2), { stdout: process.stdout, stderr: process.stderr }));
