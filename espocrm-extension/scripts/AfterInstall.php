<?php

use Espo\Core\Container;
use Espo\Core\InjectableFactory;
use Espo\Core\Utils\Config;
use Espo\Core\Utils\Config\ConfigWriter;
use Espo\Entities\Role;
use Espo\ORM\EntityManager;

/**
 * Runs after every installation and upgrade; a second run changes nothing.
 *
 * Creates the role of the API user. In a role that is there already, what the sync needs is put back; scopes that an
 * administrator has added stay.
 *
 * Places the Beteiligte where people look: first in the navigation bar, in the global search and in the quick create
 * menu. That is done once and noted in the configuration, so that what an administrator changes later stays.
 * AfterUninstall takes it back.
 */
class AfterInstall
{
    private const SETTINGS = 'custom/Espo/Modules/BitByLaw/Resources/metadata/app/bitbylaw.json';
    private const ENTITY_TYPE = 'CBeteiligte';
    private const TABS = 'tabList';
    private const MENUS = ['globalSearchEntityList', 'quickCreateList'];
    private const DONE = 'bitbylawPlaces';

    public function run(Container $container): void
    {
        $entityManager = $container->getByClass(EntityManager::class);

        // Not from the metadata service, which has read its files before ours were copied.
        $settings = json_decode((string) file_get_contents(self::SETTINGS), true, flags: JSON_THROW_ON_ERROR);

        $isFirst = $this->provideRole($entityManager, $settings['role']);

        $this->place($container, $isFirst);

        $this->countVersions($entityManager, array_keys($settings['statusAttributes']));
    }

    /**
     * Records from before versions were counted have none, so a form that is open on them would meet no conflict.
     *
     * @param string[] $entityTypes
     */
    private function countVersions(EntityManager $entityManager, array $entityTypes): void
    {
        foreach ($entityTypes as $entityType) {
            $update = $entityManager->getQueryBuilder()
                ->update()
                ->in($entityType)
                ->set(['versionNumber' => 1])
                ->where(['versionNumber' => null])
                ->build();

            $entityManager->getQueryExecutor()->execute($update);
        }
    }

    /**
     * @param array{
     *     id: string,
     *     name: string,
     *     data: array<string, mixed>,
     *     permissions: array<string, string>
     * } $wanted
     * @return bool Whether the role was missing, that is, whether this is the first installation.
     */
    private function provideRole(EntityManager $entityManager, array $wanted): bool
    {
        $repository = $entityManager->getRDBRepositoryByClass(Role::class);
        $role = $repository->getById($wanted['id']);
        $isMissing = $role === null;

        if ($isMissing) {
            // One that was removed still holds the id.
            $repository->restoreDeleted($wanted['id']);
            $role = $repository->getById($wanted['id']) ?? $repository->getNew();
            $role->set('id', $wanted['id']);
            $role->set('name', $wanted['name']);
        }

        $present = json_decode((string) json_encode($role->get('data') ?? []), true);

        $role->set($wanted['permissions']);
        $role->set('data', (object) array_merge($present, $wanted['data']));

        $entityManager->saveEntity($role);

        return $isMissing;
    }

    private function place(Container $container, bool $isFirst): void
    {
        $config = $container->getByClass(Config::class);

        if ($config->get(self::DONE)) {
            return;
        }

        $writer = $container->getByClass(InjectableFactory::class)->create(ConfigWriter::class);
        $tabs = $config->get(self::TABS) ?? [];

        $isBack = $config->get(self::DONE) === false;

        // Version 1.0.0 has put the tab at the end, behind "more". Whoever has removed it does not want it.
        if ($isFirst || $isBack || in_array(self::ENTITY_TYPE, $tabs, true)) {
            $writer->set(self::TABS, [self::ENTITY_TYPE, ...$this->without($tabs)]);
        }

        foreach (self::MENUS as $menu) {
            $writer->set($menu, [self::ENTITY_TYPE, ...$this->without($config->get($menu) ?? [])]);
        }

        $writer->set(self::DONE, true);
        $writer->save();
    }

    /**
     * @param list<mixed> $list
     * @return list<mixed>
     */
    private function without(array $list): array
    {
        return array_values(array_filter($list, fn (mixed $item) => $item !== self::ENTITY_TYPE));
    }
}
