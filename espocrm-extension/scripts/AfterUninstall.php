<?php

use Espo\Core\Container;
use Espo\Core\InjectableFactory;
use Espo\Core\Utils\Config;
use Espo\Core\Utils\Config\ConfigWriter;
use Espo\Core\Utils\Metadata;
use Espo\Entities\DashboardTemplate;
use Espo\ORM\EntityManager;

/**
 * Runs after the extension's files are gone, not in an upgrade: takes its entities and dashlets out of what everybody
 * sees and where they would lead nowhere, that is, the lists of the settings (navigation bar with its groups, global
 * search, quick create, notifications), the default dashboard and dashboard templates. Address and key of BitByLaw go as
 * well: our metadata, which kept them from users, is gone.
 *
 * Tables, records, webhooks, the role, and what users have set up for themselves stay, so that a new installation finds
 * everything as it was.
 */
class AfterUninstall
{
    private const ENTITY_TYPES = ['CBeteiligte', 'CAdressen', 'CBankverbindungen'];
    private const DASHLET_PREFIX = 'BitByLaw';
    private const DONE = 'bitbylawPlaces';
    private const PROTECTED = ['bitByLawUrl', 'bitByLawSecret'];

    public function run(Container $container): void
    {
        $config = $container->getByClass(Config::class);
        $writer = $container->getByClass(InjectableFactory::class)->create(ConfigWriter::class);

        foreach ($this->getListNames($container) as $name) {
            if (is_array($config->get($name))) {
                $writer->set($name, $this->withoutOurs($config->get($name)));
            }
        }

        $options = $this->asObject($config->get('dashletsOptions'));
        $layout = $config->get('dashboardLayout');

        if (is_array($layout)) {
            $writer->set('dashboardLayout', $this->withoutDashlets($layout, $options));
        }

        foreach (self::PROTECTED as $name) {
            $writer->remove($name);
        }

        // Not removed: a new installation knows by it that the places were not given up by an administrator.
        $writer->set(self::DONE, false);
        $writer->save();

        $this->cleanTemplates($container->getByClass(EntityManager::class));
    }

    /**
     * @return string[]
     */
    private function getListNames(Container $container): array
    {
        $metadata = $container->getByClass(Metadata::class);

        $names = $metadata->get(['app', 'config', 'entityTypeListParamList']) ?? [];

        return array_unique(['tabList', 'globalSearchEntityList', 'quickCreateList', ...$names]);
    }

    /**
     * @param array<int, mixed> $list Names of entities, and groups of the navigation bar.
     * @return list<mixed>
     */
    private function withoutOurs(array $list): array
    {
        $kept = [];

        foreach ($list as $item) {
            if (in_array($item, self::ENTITY_TYPES, true)) {
                continue;
            }

            $group = is_array($item) || is_object($item) ? $this->asObject($item) : null;

            if ($group !== null && is_array($group->itemList ?? null)) {
                $group->itemList = $this->withoutOurs($group->itemList);
                $item = $group;
            }

            $kept[] = $item;
        }

        return $kept;
    }

    /**
     * @param array<int, mixed> $layout The tabs of a dashboard.
     * @return list<stdClass>
     */
    private function withoutDashlets(array $layout, stdClass $options): array
    {
        $tabs = [];

        foreach ($layout as $item) {
            $tab = $this->asObject($item);

            $tab->layout = array_values(
                array_filter(
                    $tab->layout ?? [],
                    fn (stdClass $dashlet) => !$this->isOurs($dashlet, $options)
                )
            );

            $tabs[] = $tab;
        }

        return $tabs;
    }

    private function isOurs(stdClass $dashlet, stdClass $options): bool
    {
        $entityType = $options->{$dashlet->id ?? ''}->entityType ?? null;

        return str_starts_with($dashlet->name ?? '', self::DASHLET_PREFIX) ||
            in_array($entityType, self::ENTITY_TYPES, true);
    }

    private function cleanTemplates(EntityManager $entityManager): void
    {
        $templates = $entityManager->getRDBRepositoryByClass(DashboardTemplate::class)->find();

        foreach ($templates as $template) {
            $options = $this->asObject($template->get('dashletsOptions'));
            $before = $template->get('layout') ?? [];
            $after = $this->withoutDashlets($before, $options);

            if (json_encode($before) !== json_encode($after)) {
                $template->set('layout', $after);
                $entityManager->saveEntity($template);
            }
        }
    }

    /**
     * A copy with objects all the way down: EspoCRM's configuration holds objects and arrays alike.
     */
    private function asObject(mixed $value): stdClass
    {
        $copy = json_decode((string) json_encode($value ?? new stdClass()));

        return $copy instanceof stdClass ? $copy : new stdClass();
    }
}
