<?php

namespace tests\unit;

use AfterUninstall;
use Espo\Core\Container;
use Espo\Core\InjectableFactory;
use Espo\Core\Utils\Config;
use Espo\Core\Utils\Config\ConfigWriter;
use Espo\Core\Utils\Metadata;
use Espo\ORM\EntityCollection;
use Espo\ORM\EntityManager;
use Espo\ORM\Repository\RDBRepository;
use PHPUnit\Framework\TestCase;

class ScriptsTest extends TestCase
{
    /** @var string[] */
    private array $removed = [];

    /**
     * @dataProvider settings
     */
    public function testWhatWouldLeadNowhereIsTakenOut(string $name, mixed $before, mixed $after): void
    {
        $written = $this->uninstall([$name => $before]);

        $this->assertEquals(json_encode($after), json_encode($written[$name]));
        $this->assertFalse($written['bitbylawPlaces']);
    }

    /**
     * @return array<string, array{string, mixed, mixed}>
     */
    public static function settings(): array
    {
        $divider = (object) ['type' => 'divider', 'id' => '1', 'text' => '$CRM'];
        $dashlet = fn (string $id, string $name) => (object) ['id' => $id, 'name' => $name];
        $tab = fn (object ...$dashlets) => (object) ['name' => 'Kanzlei', 'layout' => $dashlets];

        return [
            'tabs' => ['tabList', ['CBeteiligte', $divider, 'Task', 'CAdressen'], [$divider, 'Task']],
            'a group' => [
                'tabList',
                [(object) ['type' => 'group', 'itemList' => ['CBeteiligte', 'Task']]],
                [(object) ['type' => 'group', 'itemList' => ['Task']]],
            ],
            'a group that the configuration holds as an array' => [
                'tabList',
                [['type' => 'group', 'itemList' => ['Task', 'CBankverbindungen']]],
                [['type' => 'group', 'itemList' => ['Task']]],
            ],
            'quick create' => ['quickCreateList', ['CBeteiligte', 'Task'], ['Task']],
            'a list of EspoCRM' => ['streamEmailNotificationsEntityList', ['Case', 'CBankverbindungen'], ['Case']],
            'dashlets of ours and of our records' => [
                'dashboardLayout',
                [$tab($dashlet('d1', 'BitByLawBeteiligte'), $dashlet('d2', 'Records'), $dashlet('d3', 'Records'))],
                [$tab($dashlet('d3', 'Records'))],
            ],
            'a tab without dashlets' => ['dashboardLayout', [(object) ['name' => 'Kanzlei']], [$tab()]],
        ];
    }

    public function testWhatIsNotSetStaysSo(): void
    {
        $this->assertSame(['bitbylawPlaces' => false], $this->uninstall([]));
    }

    /**
     * Without our metadata EspoCRM takes them for ordinary settings and shows them to every user.
     */
    public function testAddressAndKeyOfBitByLawGoWithTheRulesThatProtectThem(): void
    {
        $this->uninstall(['bitByLawUrl' => 'https://bitbylaw.example', 'bitByLawSecret' => 'secret']);

        $this->assertEqualsCanonicalizing(['bitByLawUrl', 'bitByLawSecret'], $this->removed);
    }

    /**
     * @param array<string, mixed> $settings
     * @return array<string, mixed> What is written.
     */
    private function uninstall(array $settings): array
    {
        $this->removed = [];
        $settings['dashletsOptions'] ??= ['d2' => ['entityType' => 'CAdressen'], 'd3' => ['entityType' => 'Task']];

        $config = $this->createMock(Config::class);
        $config->method('get')->willReturnCallback(fn (string $name) => $settings[$name] ?? null);

        $metadata = $this->createMock(Metadata::class);
        $metadata->method('get')->willReturn(['tabList', 'streamEmailNotificationsEntityList']);

        $written = [];
        $writer = $this->createMock(ConfigWriter::class);
        $writer->expects($this->once())->method('save');
        $writer->method('set')->willReturnCallback(
            function (string $name, mixed $value) use (&$written): void {
                $written[$name] = $value;
            }
        );

        $writer->method('remove')->willReturnCallback(
            function (string $name): void {
                $this->removed[] = $name;
            }
        );

        $factory = $this->createMock(InjectableFactory::class);
        $factory->method('create')->with(ConfigWriter::class)->willReturn($writer);

        $repository = $this->createMock(RDBRepository::class);
        $repository->method('find')->willReturn(new EntityCollection());

        $entityManager = $this->createMock(EntityManager::class);
        $entityManager->method('getRDBRepositoryByClass')->willReturn($repository);

        $services = [
            Config::class => $config,
            Metadata::class => $metadata,
            InjectableFactory::class => $factory,
            EntityManager::class => $entityManager,
        ];

        $container = $this->createMock(Container::class);
        $container->method('getByClass')->willReturnCallback(fn (string $class) => $services[$class]);

        (new AfterUninstall())->run($container);

        return $written;
    }
}
