<?php

namespace Espo\Modules\BitByLaw\Controllers;

use Espo\Core\Templates\Controllers\Base;

class CBankverbindungen extends Base
{
}
