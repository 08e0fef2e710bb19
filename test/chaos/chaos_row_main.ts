/** Runs one row of the chaos table for the process that has started this one, and sends it the outcome. */
import { outcomeOfThrow, type RowOrder } from './scenario.ts';
import { scenariosOf } from './scenarios.ts';

const order = JSON.parse(process.argv[2] ?? '') as RowOrder;
const scenario = scenariosOf(order.soakMinutes).find(({ id }) => id === order.id);
if (scenario === undefined) throw new Error(`there is no row ${order.id}`);
const outcome = await scenario.run(order.tier, order.seed).catch(outcomeOfThrow);
process.send?.(outcome, () => process.exit(0));
