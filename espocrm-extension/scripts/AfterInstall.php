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
 */
class AfterInstall
{
    private const SETTINGS = 'custom/Espo/Modules/BitByLaw/Resources/metadata/app/bitbylaw.json';
    private const TAB = 'CBeteiligte';

    public function run(Container $container): void
    {
        $entityManager = $container->getByClass(EntityManager::class);

        // Not from the metadata service, which has read its files before ours were copied.
        $settings = json_decode((string) file_get_contents(self::SETTINGS), true, flags: JSON_THROW_ON_ERROR);

        if ($this->provideRole($entityManager, $settings['role'])) {
            $this->addTab($container);
        }

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

    private function addTab(Container $container): void
    {
        $tabs = $container->getByClass(Config::class)->get('tabList') ?? [];

        if (in_array(self::TAB, $tabs, true)) {
            return;
        }

        $writer = $container->getByClass(InjectableFactory::class)->create(ConfigWriter::class);
        $writer->set('tabList', [...$tabs, self::TAB]);
        $writer->save();
    }
}
