/** The dashboards there are. */
import type { DashboardSpec } from './dashboard.ts';
import { FLEET } from './fleet_dashboard.ts';
import { OVERVIEW } from './overview_dashboard.ts';
import { PIPELINE } from './pipeline_dashboard.ts';
import { WORKERS } from './workers_dashboard.ts';

export const DASHBOARDS: readonly DashboardSpec[] = [OVERVIEW, PIPELINE, WORKERS, FLEET];
