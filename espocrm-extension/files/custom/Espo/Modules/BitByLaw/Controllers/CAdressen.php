<?php

namespace Espo\Modules\BitByLaw\Controllers;

use Espo\Core\Templates\Controllers\Base;

class CAdressen extends Base
{
}
